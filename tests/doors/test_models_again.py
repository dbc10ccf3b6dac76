"""What may be given again and what may not, how many streams there may be, and what is counted of all that."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from typing import Any
from uuid import uuid4

import pytest
from aiohttp import web

from model_gateway import HELLO, Gateway
from model_house import KEY, chunk, refusing, streamed

PATHS = ("/v1/chat/completions", "/v1/responses", "/api/llm/chat")


def body_for(path: str, model: str, **more: Any) -> dict[str, Any]:
    return {"model": model, ("input" if path.endswith("responses") else "messages"): HELLO, **more}


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("is_stream", [False, True])
async def test_a_request_with_a_key_is_answered_once(gateway: Gateway, path: str, is_stream: bool) -> None:
    model, headers = f"keyed-{uuid4()}", {"Idempotency-Key": f'"{uuid4()}"'}
    body = body_for(path, model, stream=is_stream)
    first = await gateway.http.post(path, json=body, headers=headers)
    again = await gateway.http.post(path, json=body, headers=headers)
    assert (first.status_code, again.status_code) == (200, 200), first.text
    assert again.content == first.content
    assert again.headers["content-type"] == first.headers["content-type"]
    assert "idempotency-replayed" not in first.headers
    assert again.headers["idempotency-replayed"] == "true"
    assert len(gateway.upstream.of(model)) == 1
    other = await gateway.http.post(path, json={**body, "seed": 1}, headers=headers)
    assert other.status_code == 422


async def test_a_key_holds_for_one_route_and_one_caller(gateway: Gateway) -> None:
    model, headers = f"keyed-{uuid4()}", {"Idempotency-Key": str(uuid4())}
    for path in PATHS:
        answer = await gateway.http.post(path, json=body_for(path, model), headers=headers)
        assert "idempotency-replayed" not in answer.headers
    other = {**headers, "Authorization": f"Bearer {KEY}-other"}
    answer = await gateway.http.post(PATHS[0], json=body_for(PATHS[0], model), headers=other)
    assert answer.status_code == 200
    assert "idempotency-replayed" not in answer.headers
    assert len(gateway.upstream.of(model)) == 4


async def test_copies_of_a_request_under_way_are_told_to_wait(gateway: Gateway) -> None:
    goes_on, model = asyncio.Event(), f"keyed-{uuid4()}"

    async def slow(request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
        await goes_on.wait()
        return web.json_response({"choices": []})

    gateway.upstream.answers[model] = slow
    headers, body = {"Idempotency-Key": str(uuid4())}, body_for(PATHS[0], model)
    first = asyncio.create_task(gateway.http.post(PATHS[0], json=body, headers=headers))
    async with asyncio.timeout(10):
        while not gateway.upstream.of(model):
            await asyncio.sleep(0.01)
    copy = await gateway.http.post(PATHS[0], json=body, headers=headers)
    goes_on.set()
    assert (copy.status_code, copy.headers["x-should-retry"]) == (409, "true")
    assert (await first).status_code == 200
    assert len(gateway.upstream.of(model)) == 1


async def test_a_key_whose_request_failed_can_be_used_again(gateway: Gateway) -> None:
    model, headers = f"keyed-{uuid4()}", {"Idempotency-Key": str(uuid4())}
    gateway.upstream.answers[model] = refusing(400)
    body = body_for(PATHS[0], model)
    assert (await gateway.http.post(PATHS[0], json=body, headers=headers)).status_code == 400
    assert (await gateway.http.post(PATHS[0], json=body, headers=headers)).status_code == 200


async def test_the_provider_gets_a_key_of_ours_and_not_the_callers(gateway: Gateway) -> None:
    key = str(uuid4())
    await gateway.http.post(PATHS[0], json=body_for(PATHS[0], "m"), headers={"Idempotency-Key": key})
    sent = {name.lower(): value for name, value in gateway.upstream.headers[-1].items()}
    assert len(sent["idempotency-key"]) == 40
    assert key not in str(sent)


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("is_stream", [False, True])
async def test_who_wants_it_gets_an_answer_of_a_moment_ago(gateway: Gateway, path: str, is_stream: bool) -> None:
    model, headers = f"cached-{uuid4()}", {"X-Interlock-Cache": "60"}
    body = body_for(path, model, stream=is_stream)
    first = await gateway.http.post(path, json=body, headers=headers)
    again = await gateway.http.post(path, json=body, headers=headers)
    assert (first.headers["x-interlock-cache"], again.headers["x-interlock-cache"]) == ("miss", "hit")
    assert again.content == first.content
    assert len(gateway.upstream.of(model)) == 1
    plain = await gateway.http.post(path, json=body)
    assert "x-interlock-cache" not in plain.headers
    assert len(gateway.upstream.of(model)) == 2


async def test_nobody_gets_what_another_caller_was_answered(gateway: Gateway) -> None:
    """G12."""
    model, body = f"cached-{uuid4()}", {}
    body = body_for(PATHS[0], model)
    for key in (KEY, KEY + "-other", KEY + "-elsewhere"):
        headers = {"X-Interlock-Cache": "60", "Authorization": f"Bearer {key}"}
        answer = await gateway.http.post(PATHS[0], json=body, headers=headers)
        assert answer.headers["x-interlock-cache"] == "miss", answer.text
    assert len(gateway.upstream.of(model)) == 3


async def test_another_request_and_a_failure_are_not_given_again(gateway: Gateway) -> None:
    model, headers = f"cached-{uuid4()}", {"X-Interlock-Cache": "60"}
    gateway.upstream.answers[model] = refusing(400)
    body = body_for(PATHS[0], model)
    assert (await gateway.http.post(PATHS[0], json=body, headers=headers)).status_code == 400
    assert (await gateway.http.post(PATHS[0], json=body, headers=headers)).headers["x-interlock-cache"] == "miss"
    other = await gateway.http.post(PATHS[0], json={**body, "seed": 1}, headers=headers)
    assert other.headers["x-interlock-cache"] == "miss"


@pytest.mark.parametrize("value", ["0", "-1", "x", "86401", "1.5", ""])
async def test_an_age_that_is_none_is_refused(gateway: Gateway, value: str) -> None:
    headers = {"X-Interlock-Cache": value}
    answer = await gateway.http.post(PATHS[0], json=body_for(PATHS[0], "m"), headers=headers)
    assert answer.status_code == 400


async def test_twenty_streams_may_be_open_and_a_seat_is_free_when_one_ends(gateway: Gateway) -> None:
    async def hanging(request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
        return await streamed(request, [chunk("Hel")], then=asyncio.sleep(60))

    gateway.upstream.answers["hanging"] = hanging
    headers = {"Authorization": f"Bearer {KEY}-seats"}

    def ask(path: str) -> Any:
        return gateway.http.build_request("POST", path, json=body_for(path, "hanging", stream=True), headers=headers)

    async with AsyncExitStack() as stack:
        answers = [await gateway.http.send(ask(PATHS[number % 3]), stream=True) for number in range(20)]
        for answer in answers:
            stack.push_async_callback(answer.aclose)
        assert [answer.status_code for answer in answers] == [200] * 20
        for path in PATHS:
            refused = await gateway.http.send(ask(path))
            assert (refused.status_code, refused.headers["retry-after"]) == (429, "5")
        await answers[0].aclose()
        async with asyncio.timeout(5):
            while (one_more := await gateway.http.send(ask(PATHS[0]), stream=True)).status_code == 429:
                await one_more.aclose()
                await asyncio.sleep(0.02)
        stack.push_async_callback(one_more.aclose)
        assert one_more.status_code == 200


async def test_calls_and_tokens_are_counted_under_configured_names_only(gateway: Gateway) -> None:
    before = await counted(gateway)
    for model in ("mapped", f"any-{uuid4()}"):
        await gateway.http.post(PATHS[0], json=body_for(PATHS[0], model))
    gateway.upstream.answers["picky-too"] = refusing(400)
    await gateway.http.post(PATHS[0], json=body_for(PATHS[0], "picky-too"))
    after = await counted(gateway)
    grown = {name: after[name] - before.get(name, 0) for name in after if after[name] != before.get(name, 0)}
    assert grown == {
        'interlock_model_calls_total{model="mapped",status="succeeded"}': 1,
        'interlock_model_calls_total{model="other",status="succeeded"}': 1,
        'interlock_model_calls_total{model="other",status="failed"}': 1,
        'interlock_model_tokens_total{direction="input",model="mapped"}': 9,
        'interlock_model_tokens_total{direction="output",model="mapped"}': 12,
        'interlock_model_tokens_total{direction="input",model="other"}': 9,
        'interlock_model_tokens_total{direction="output",model="other"}': 12,
    }


async def counted(gateway: Gateway) -> dict[str, float]:
    """The metrics of models, by name and labels."""
    answer = await gateway.http.get("/metrics", headers={"Authorization": f"Bearer {gateway.token}"})
    lines = [line for line in answer.text.splitlines() if line.startswith("interlock_model_")]
    return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines)}
