"""``/v1`` and ``/api/llm`` through a real server and a provider on loopback, with OpenAI's own client."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, NamedTuple

import httpx2
import openai
import pytest
from aiohttp import web

from model_house import ADMIN, DONE, KEY, USAGE, Upstream, chunk, event, refusing, running_upstream, streamed
from served import start_server, stop_server

HELLO: list[Any] = [{"role": "user", "content": "hello"}]
SHORT = {"retry-after-ms": "1"}


class Gateway(NamedTuple):
    """A server, the provider behind it, and clients of it."""

    url: str
    pid: int
    token: str
    upstream: Upstream
    openai: openai.AsyncOpenAI
    http: httpx2.AsyncClient


@pytest.fixture(scope="module")
async def gateway(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Gateway]:
    async with running_upstream() as upstream:
        prices = {name: {"input": 1.0, "output": 2.0} for name in ("priced", "cheap")}
        main = {"base_url": upstream.url, "api_key": "sk-ours", "prices": prices}
        names = {"models": {"mapped": "their-name", "embedder": "their-embedder", "priced": "priced"}}
        providers = {
            "dashscope": {**main, **names},
            "other": {"base_url": upstream.url, "api_key": "sk-other"},
        }
        keys = {
            KEY: {"scopes": ["models:use"], "rate_limit_tier": "development"},
            ADMIN: {"scopes": ["admin"], "rate_limit_tier": "development", "tenant_id": "paying"},
            KEY + "-weak": {"scopes": ["health:check"], "rate_limit_tier": "development"},
            KEY + "-narrow": {"scopes": ["models:use"], "allowed_models": ["mapped"]},
        }
        process, url, token = await asyncio.to_thread(
            start_server,
            Path(tmp_path_factory.mktemp("models")),
            MCP_API_KEYS=json.dumps(keys),
            INTERLOCK_MODEL_PROVIDERS=json.dumps(providers),
        )
        client = openai.AsyncOpenAI(base_url=url + "/v1", api_key=KEY, max_retries=0)
        http = httpx2.AsyncClient(base_url=url, headers={"Authorization": f"Bearer {KEY}"}, timeout=30)
        yield Gateway(url, process.pid, token, upstream, client, http)
        await http.aclose()
        await client.close()
        await asyncio.to_thread(stop_server, process)


async def test_a_chat_comes_back_as_the_provider_wrote_it(gateway: Gateway) -> None:
    answer = await gateway.openai.chat.completions.create(
        model="mapped", messages=HELLO, extra_body={"enable_thinking": False, "top_k": 3}
    )
    assert answer.choices[0].message.content == "Hello there"
    assert answer.model == "real-name"
    assert answer.usage is not None
    assert answer.usage.total_tokens == 21
    assert answer.model_extra == {"extra": {"of": "the provider"}}
    asked = gateway.upstream.asked[-1]
    assert asked == {"model": "their-name", "messages": HELLO, "enable_thinking": False, "top_k": 3}


async def test_the_provider_gets_its_own_key_and_nothing_of_the_caller(gateway: Gateway) -> None:
    await gateway.http.post(
        "/v1/chat/completions", json={"model": "m", "messages": HELLO}, headers={"X-Mine": "secret"}
    )
    sent = {name.lower(): value for name, value in gateway.upstream.headers[-1].items()}
    assert sent["authorization"] == "Bearer sk-other"
    assert set(sent) == {
        "host",
        "user-agent",
        "accept",
        "accept-encoding",
        "content-type",
        "content-length",
        "authorization",
    }


async def test_a_stream_ends_with_the_usage_chunk_if_it_was_asked_for(gateway: Gateway) -> None:
    stream = await gateway.openai.chat.completions.create(
        model="mapped", messages=HELLO, stream=True, stream_options={"include_usage": True}
    )
    chunks = [one async for one in stream]
    assert "".join(one.choices[0].delta.content or "" for one in chunks[:-1]) == "Hello there"
    assert chunks[-1].choices == []
    assert chunks[-1].usage is not None
    assert chunks[-1].usage.model_dump(exclude_none=True) == USAGE


async def test_a_stream_without_that_wish_has_no_usage_chunk_and_ends_with_done(gateway: Gateway) -> None:
    answer = await gateway.http.post("/v1/chat/completions", json={"model": "m", "messages": HELLO, "stream": True})
    assert answer.headers["content-type"] == "text/event-stream"
    assert answer.content == chunk("Hello ") + chunk("there") + chunk(reason="stop") + DONE
    assert gateway.upstream.asked[-1]["stream_options"] == {"include_usage": True}


async def test_models_are_listed_with_their_providers(gateway: Gateway) -> None:
    listed = [(one.id, one.owned_by) async for one in gateway.openai.models.list()]
    assert listed == [("embedder", "dashscope"), ("mapped", "dashscope"), ("priced", "dashscope")]
    assert (await gateway.openai.models.retrieve("mapped")).id == "mapped"
    with pytest.raises(openai.NotFoundError) as refused:
        await gateway.openai.models.retrieve("nothing")
    assert refused.value.code == "model_not_found"


async def test_many_texts_are_embedded_in_batches_of_ten_and_in_order(gateway: Gateway) -> None:
    texts = [str(number) for number in range(25)]
    answer = await gateway.openai.embeddings.create(model="embedder", input=texts)
    assert [row.embedding for row in answer.data] == [[float(number), 0.5] for number in range(25)]
    assert [row.index for row in answer.data] == list(range(25))
    assert answer.usage.prompt_tokens == 25
    assert [len(body["input"]) for body in gateway.upstream.of("their-embedder")] == [10, 10, 5]


async def test_token_numbers_are_refused_where_the_provider_takes_texts_only(gateway: Gateway) -> None:
    with pytest.raises(openai.BadRequestError) as refused:
        await gateway.openai.embeddings.create(model="embedder", input=[[1, 2, 3]])
    assert refused.value.param == "input"


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/api/llm/chat"])
@pytest.mark.parametrize("name", ["base_url", "api_base", "proxy", "headers", "extra_headers", "custom_provider"])
async def test_where_a_call_goes_is_not_for_the_caller_to_say(gateway: Gateway, path: str, name: str) -> None:
    before = len(gateway.upstream.asked)
    answer = await gateway.http.post(path, json={"model": "m", "messages": HELLO, name: gateway.upstream.url})
    assert answer.status_code == 422
    assert len(gateway.upstream.asked) == before


@pytest.mark.parametrize("url", ["http://169.254.169.254/x", "https://127.0.0.1/x", "https://localhost/x", "file:///x"])
async def test_messages_may_name_public_addresses_only(gateway: Gateway, url: str) -> None:
    parts = [{"type": "image_url", "image_url": {"url": url}}]
    body = {"model": "m", "messages": [{"role": "user", "content": parts}]}
    answer = await gateway.http.post("/v1/chat/completions", json=body)
    assert answer.status_code == 422


@pytest.mark.parametrize("status", [408, 429, 500, 503])
async def test_a_provider_that_is_busy_is_asked_again(gateway: Gateway, status: int) -> None:
    model = f"busy-{status}"
    gateway.upstream.answers[model] = refusing(status, status, **SHORT)
    answer = await gateway.openai.chat.completions.create(model=model, messages=HELLO)
    assert answer.choices[0].message.content == "Hello there"
    assert len(gateway.upstream.of(model)) == 3


async def test_after_three_tries_the_caller_is_told_and_not_to_try_again(gateway: Gateway) -> None:
    gateway.upstream.answers["down"] = refusing(500, 500, 500, 500, **SHORT)
    answer = await gateway.http.post("/v1/chat/completions", json={"model": "down", "messages": HELLO})
    assert answer.status_code == 502
    assert answer.headers["x-should-retry"] == "false"
    assert answer.json()["error"]["code"] == "Throttling.RateQuota"
    assert "sk-secret" not in answer.text
    assert len(gateway.upstream.of("down")) == 3


async def test_what_the_provider_finds_wrong_is_not_tried_again(gateway: Gateway) -> None:
    gateway.upstream.answers["picky"] = refusing(400, code="context_length_exceeded")
    with pytest.raises(openai.BadRequestError) as refused:
        await gateway.openai.chat.completions.create(model="picky", messages=HELLO)
    assert refused.value.code == "context_length_exceeded"
    assert len(gateway.upstream.of("picky")) == 1


async def test_another_model_stands_in_at_once(gateway: Gateway) -> None:
    gateway.upstream.answers["ill"] = refusing(503, 503, 503)
    answer = await gateway.openai.chat.completions.create(
        model="ill", messages=HELLO, extra_body={"models": ["ill", "mapped"]}
    )
    assert answer.choices[0].message.content == "Hello there"
    assert "models" not in gateway.upstream.asked[-1]
    await gateway.openai.chat.completions.create(model="ill", messages=HELLO, extra_body={"models": ["mapped"]})
    assert len(gateway.upstream.of("ill")) == 1, "a deployment that failed has a rest"


async def test_a_stream_that_is_cut_off_ends_with_an_error_and_without_done(gateway: Gateway) -> None:
    async def cut(request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
        return await streamed(request, [chunk("Hel"), b"data: {"])

    gateway.upstream.answers["cut"] = cut
    answer = await gateway.http.post("/v1/chat/completions", json={"model": "cut", "messages": HELLO, "stream": True})
    assert answer.status_code == 200
    first, last = [part for part in answer.text.split("\n\n") if part]
    assert first + "\n\n" == chunk("Hel").decode()
    assert json.loads(last.removeprefix("data: "))["error"]["code"] == "llm_provider_error"
    stream = await gateway.openai.chat.completions.create(model="cut", messages=HELLO, stream=True)
    with pytest.raises(openai.APIError):
        _ = [one async for one in stream]


async def test_an_error_of_the_provider_in_mid_stream_is_told_in_our_words(gateway: Gateway) -> None:
    async def fail(request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
        told = {"error": {"message": "sk-secret-of-the-provider", "code": "overloaded"}}
        return await streamed(request, [chunk("Hel"), event(told)])

    gateway.upstream.answers["failing"] = fail
    body = {"model": "failing", "messages": HELLO, "stream": True}
    answer = await gateway.http.post("/v1/chat/completions", json=body)
    assert "overloaded" in answer.text
    assert "sk-secret" not in answer.text
    assert "[DONE]" not in answer.text


async def test_an_endless_line_is_cut_off_without_being_kept(gateway: Gateway) -> None:
    async def endless(request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
        return await streamed(request, [chunk("a"), b"data: ", *([b"x" * 1_048_576] * 50)])

    gateway.upstream.answers["endless"] = endless
    before = resident(gateway.pid)
    body = {"model": "endless", "messages": HELLO, "stream": True}
    answer = await gateway.http.post("/v1/chat/completions", json=body)
    assert "too long" in answer.text
    assert resident(gateway.pid) - before < 50 * 1_048_576


async def test_an_answer_that_is_no_json_is_an_error_of_the_provider(gateway: Gateway) -> None:
    async def garbage(request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
        return web.Response(body=b"<html>", content_type="application/json")

    gateway.upstream.answers["garbage"] = garbage
    answer = await gateway.http.post("/v1/chat/completions", json={"model": "garbage", "messages": HELLO})
    assert answer.status_code == 502


@pytest.mark.parametrize("is_stream", [False, True])
async def test_a_caller_who_leaves_ends_the_providers_work(gateway: Gateway, is_stream: bool) -> None:
    async def slow(request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
        if not body.get("stream"):
            await asyncio.sleep(60)
        return await streamed(request, [chunk("Hel")], then=asyncio.sleep(60))

    gateway.upstream.answers["slow"] = slow
    body = {"model": "slow", "messages": HELLO, "stream": is_stream}
    request = gateway.http.build_request("POST", "/v1/chat/completions", json=body)
    before = len(gateway.upstream.of("slow"))
    calling = asyncio.create_task(gateway.http.send(request, stream=True))
    async with asyncio.timeout(10):
        while len(gateway.upstream.of("slow")) == before:
            await asyncio.sleep(0.01)
    if is_stream:
        answer = await calling
        await answer.aclose()
    else:
        calling.cancel()
    async with asyncio.timeout(1):
        while await gateway.upstream.broken_off.get() != "slow":
            pass


async def test_credentials_and_scopes_are_asked_for(gateway: Gateway) -> None:
    body = {"model": "m", "messages": HELLO}
    for headers, status in (({"Authorization": ""}, 401), ({"Authorization": f"Bearer {KEY}-weak"}, 403)):
        answer = await gateway.http.post("/v1/chat/completions", json=body, headers=headers)
        assert answer.status_code == status
        assert set(answer.json()["error"]) == {"message", "type", "param", "code"}
    narrow = {"Authorization": f"Bearer {KEY}-narrow"}
    assert (await gateway.http.post("/v1/chat/completions", json=body, headers=narrow)).status_code == 403
    body["model"] = "mapped"
    assert (await gateway.http.post("/v1/chat/completions", json=body, headers=narrow)).status_code == 200


async def test_tempo_clients_get_their_own_shape(gateway: Gateway) -> None:
    answer = await gateway.http.post("/api/llm/chat", json={"model": "mapped", "messages": HELLO, "session_id": "s"})
    told = answer.json()
    assert told.pop("request_id") == answer.headers["x-request-id"]
    usage = {"input_tokens": 9, "output_tokens": 12}
    assert told == {"content": "Hello there", "model": "real-name", "usage": usage, "finish_reason": "stop"}
    asked = gateway.upstream.asked[-1]
    assert (asked["temperature"], "session_id" in asked) == (0.7, False)
    texts = [str(number) for number in range(12)]
    embedded = await gateway.http.post("/api/llm/embedding", json={"model": "embedder", "texts": texts})
    assert embedded.json() == {
        "vectors": [[float(number), 0.5] for number in range(12)],
        "dim": 2,
        "model": "real-embedder",
        "usage": {"input_tokens": 12},
    }


async def test_tempo_clients_get_their_own_stream(gateway: Gateway) -> None:
    body = {"model": "mapped", "messages": HELLO, "stream": True}
    frames = (await gateway.http.post("/api/llm/chat", json=body)).text.split("\n\n")
    assert frames[:2] == [": connected", "retry: 3000"]
    told = [json.loads(frame.removeprefix("data: ")) for frame in frames[2:5]]
    assert told == [
        {"type": "delta", "content": "Hello "},
        {"type": "delta", "content": "there"},
        {
            "type": "done",
            "content": "Hello there",
            "model": "real-name",
            "usage": {"input_tokens": 9, "output_tokens": 12},
            "finish_reason": "stop",
        },
    ]
    assert frames[5:] == ["data: [DONE]", ""]
    body["model"] = "cut-2"

    async def cut(request: web.Request, asked: dict[str, Any]) -> web.StreamResponse:
        return await streamed(request, [chunk("Hel")])

    gateway.upstream.answers["cut-2"] = cut
    last = (await gateway.http.post("/api/llm/chat", json=body)).text.split("\n\n")[-2]
    error = json.loads(last.removeprefix("data: "))
    assert (error["type"], error["code"], error["retryable"]) == ("error", "LLM_PROVIDER_ERROR", False)


async def test_a_budget_is_kept_and_its_end_is_told_so_that_nobody_tries_again(gateway: Gateway) -> None:
    headers = {"Authorization": f"Bearer {ADMIN}"}
    set_to = await gateway.http.put("/v1/budgets/tenant", json={"cap_usd": 0.0002}, headers=headers)
    assert set_to.json() == {"holder": "tenant", "cap_usd": 0.0002, "spent_usd": 0.0, "held_usd": 0.0}
    body = {"model": "priced", "messages": HELLO, "max_tokens": 50}
    statuses = []
    for _ in range(8):
        answer = await gateway.http.post("/v1/chat/completions", json=body, headers=headers)
        statuses.append(answer.status_code)
    assert statuses[0] == 200
    assert statuses[-1] == 429
    assert answer.headers["x-should-retry"] == "false"
    assert answer.json()["error"]["code"] == "budget_exceeded"
    paid = statuses.count(200) * (9 * 1.0 + 12 * 2.0) / 1_000_000
    async with asyncio.timeout(10):
        while (listed := await gateway.http.get("/v1/budgets", headers=headers)).json()["data"][0]["spent_usd"] < paid:
            await asyncio.sleep(0.05)
    assert listed.json()["data"][0]["spent_usd"] == pytest.approx(paid)
    assert paid <= 0.0002
    unpriced = await gateway.http.post("/v1/chat/completions", json={**body, "model": "m"}, headers=headers)
    assert unpriced.json()["error"]["code"] == "model_unpriced"


async def test_responses_are_chats_in_other_words(gateway: Gateway) -> None:
    answer = await gateway.openai.responses.create(
        model="mapped", input="hello", instructions="Be brief", max_output_tokens=20
    )
    assert (answer.output_text, answer.status, answer.model) == ("Hello there", "completed", "real-name")
    assert answer.usage is not None
    assert (answer.usage.input_tokens, answer.usage.output_tokens, answer.usage.total_tokens) == (9, 12, 21)
    messages = [{"role": "system", "content": "Be brief"}, {"role": "user", "content": "hello"}]
    assert gateway.upstream.asked[-1] == {"model": "their-name", "messages": messages, "max_tokens": 20}
    with pytest.raises(openai.BadRequestError) as refused:
        await gateway.openai.responses.create(model="mapped", input="x", previous_response_id="resp_1")
    assert refused.value.param == "previous_response_id"


async def test_responses_are_streamed_as_numbered_events(gateway: Gateway) -> None:
    parts: Any = [{"role": "user", "content": [{"type": "input_text", "text": "hello"}]}]
    stream = await gateway.openai.responses.create(model="mapped", input=parts, stream=True)
    events = [event async for event in stream]
    assert [event.sequence_number for event in events] == list(range(len(events)))
    assert [event.type for event in events] == [
        "response.created",
        "response.output_item.added",
        "response.content_part.added",
        "response.output_text.delta",
        "response.output_text.delta",
        "response.output_text.done",
        "response.content_part.done",
        "response.output_item.done",
        "response.completed",
    ]
    assert events[-1].response.output_text == "Hello there"  # type: ignore[union-attr]
    assert events[-1].response.usage.output_tokens == 12  # type: ignore[union-attr]


async def test_a_workflow_chats_and_embeds_in_its_tenants_name(gateway: Gateway) -> None:
    headers = {"Authorization": f"Bearer {gateway.token}"}
    nodes = [
        {"id": "ask", "type": "llm_chat", "parameters": {"model": "mapped", "prompt": "{{ $json.question }}"}},
        {"id": "embed", "type": "llm_embed", "parameters": {"model": "embedder", "texts": ["1", "2"]}},
    ]
    body = {"name": "Ask", "nodes": nodes, "connections": [{"from_node": "ask", "to_node": "embed"}]}
    made = await gateway.http.post("/api/app/workflows", json=body, headers=headers)
    assert made.status_code in (200, 201), made.text
    path = f"/api/app/workflows/{made.json()['workflow_id']}/execute"
    ran = await gateway.http.post(path, json={"inputs": {"question": "Why?"}, "wait": True}, headers=headers)
    told = ran.json()
    shown = await gateway.http.get(f"/api/app/executions/{told['execution_id']}", headers=headers)
    async with asyncio.timeout(20):
        while (found := shown.json())["status"] in ("NEW", "RUNNING", "WAITING"):
            await asyncio.sleep(0.05)
            shown = await gateway.http.get(f"/api/app/executions/{told['execution_id']}", headers=headers)
    assert found["status"] == "SUCCESS", found
    assert "0.5" in json.dumps(found)
    assert gateway.upstream.of("their-name")[-1]["messages"] == [{"role": "user", "content": "Why?"}]


def resident(pid: int) -> int:
    """Bytes of memory of a process."""
    with open(f"/proc/{pid}/statm") as file:
        return int(file.read().split()[1]) * 4096
