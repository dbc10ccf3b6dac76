"""``/v1`` through a real server and a provider on loopback, with OpenAI's own client."""

from __future__ import annotations

import asyncio
import base64
import struct
from typing import Any

import httpx2
import openai
import pytest
from aiohttp import web

from interlock.core.principal import Principal, Scope
from interlock.services.access.keys import KeyWishes
from model_gateway import HELLO, OTHER, SHORT, Gateway
from model_house import ADMIN, DONE, KEY, USAGE, chunk, refusing, streamed


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
    assert sent["authorization"] == f"Bearer {OTHER}"
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
    assert listed == [
        ("cheap", "dashscope"),
        ("embedder", "dashscope"),
        ("mapped", "dashscope"),
        ("priced", "dashscope"),
    ]
    assert (await gateway.openai.models.retrieve("mapped")).id == "mapped"
    with pytest.raises(openai.NotFoundError) as refused:
        await gateway.openai.with_options(api_key=KEY + "-narrow").models.retrieve("nothing")
    assert refused.value.code == "model_not_found"


async def test_many_texts_are_embedded_in_batches_of_ten_and_in_order(gateway: Gateway) -> None:
    texts = [str(number) for number in range(25)]
    before = len(gateway.upstream.of("their-embedder"))
    answer = await gateway.openai.embeddings.create(model="embedder", input=texts)
    assert [row.embedding for row in answer.data] == [[float(number), 0.5] for number in range(25)]
    assert [row.index for row in answer.data] == list(range(25))
    assert answer.usage.prompt_tokens == 25
    assert [len(body["input"]) for body in gateway.upstream.of("their-embedder")[before:]] == [10, 10, 5]


async def test_token_numbers_are_refused_where_the_provider_takes_texts_only(gateway: Gateway) -> None:
    with pytest.raises(openai.BadRequestError) as refused:
        await gateway.openai.embeddings.create(model="embedder", input=[[1, 2, 3]])
    assert refused.value.param == "input"


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


@pytest.mark.parametrize(
    ("status", "raised"),
    [
        (401, openai.InternalServerError),
        (403, openai.InternalServerError),
        (404, openai.BadRequestError),
        (413, openai.BadRequestError),
        (422, openai.BadRequestError),
        (500, openai.InternalServerError),
    ],
)
async def test_every_refusal_is_one_that_the_clients_of_openai_know(
    gateway: Gateway, status: int, raised: type[openai.APIStatusError]
) -> None:
    model = f"refusing-{status}"
    gateway.upstream.answers[model] = refusing(status, status, status, code="some_code", **SHORT)
    with pytest.raises(raised) as refused:
        await gateway.openai.chat.completions.create(model=model, messages=HELLO)
    assert (refused.value.code, refused.value.response.headers["x-should-retry"]) == ("some_code", "false")


async def test_comments_of_the_provider_keep_the_stream_alive(gateway: Gateway) -> None:
    async def thinking(request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
        return await streamed(request, [b": PROCESSING\n\n", chunk("Hi"), b": PROCESSING\n\n", DONE])

    gateway.upstream.answers["thinking"] = thinking
    stream = await gateway.openai.chat.completions.create(model="thinking", messages=HELLO, stream=True)
    assert [one.choices[0].delta.content async for one in stream] == ["Hi"]


async def test_tool_calls_come_as_the_model_wrote_them_even_if_their_arguments_are_broken(gateway: Gateway) -> None:
    calls = [{"id": "c", "type": "function", "function": {"name": "f", "arguments": '{"city": "Ber'}}]

    async def calling(request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
        message = {"role": "assistant", "content": None, "tool_calls": calls}
        return web.json_response({"choices": [{"index": 0, "message": message, "finish_reason": "tool_calls"}]})

    gateway.upstream.answers["calling"] = calling
    tools: Any = [{"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}]
    answer = await gateway.openai.chat.completions.create(model="calling", messages=HELLO, tools=tools)
    told = answer.choices[0].message.tool_calls
    assert told is not None
    assert told[0].function.arguments == '{"city": "Ber'  # type: ignore[union-attr]
    assert gateway.upstream.asked[-1]["tools"] == tools


async def test_packed_vectors_of_many_batches_are_packed_again(gateway: Gateway) -> None:
    texts = [str(number) for number in range(12)]
    body = {"model": "embedder", "input": texts, "encoding_format": "base64"}
    answer = (await gateway.http.post("/v1/embeddings", json=body)).json()
    vectors = [struct.unpack("<2f", base64.b64decode(row["embedding"])) for row in answer["data"]]
    assert vectors == [(float(number), 0.5) for number in range(12)]


async def test_without_a_provider_every_door_says_so(caller: Any, house: Any) -> None:
    admin = Principal(caller.subject, caller.tenant_id, frozenset(Scope))
    made = await house.services.access.keys.create(admin, KeyWishes(client_name="c", scopes=("models:use",)))
    bodies = {
        "/v1/chat/completions": {"model": "m", "messages": HELLO},
        "/v1/embeddings": {"model": "m", "input": "x"},
        "/v1/responses": {"model": "m", "input": "x"},
        "/api/llm/chat": {"messages": HELLO},
        "/api/llm/embedding": {"texts": ["x"]},
    }
    for path, body in bodies.items():
        credential = made.text if path.startswith("/v1") else caller.token
        answer = await caller.http.post(path, json=body, headers={"Authorization": f"Bearer {credential}"})
        assert answer.status_code == 503, answer.text
        told = answer.json()
        assert (told.get("error") or told)["code"].upper() == "LLM_NOT_CONFIGURED"
        assert answer.headers["retry-after"] == "60"


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("GET", "/v1/embeddings", 405), ("DELETE", "/v1/models", 405), ("GET", "/v1/nope", 404), ("POST", "/v1/a/b", 404)],
)
async def test_a_wrong_method_or_path_is_refused_in_the_shape_that_clients_of_openai_read(
    gateway: Gateway, method: str, path: str, status: int
) -> None:
    answer = await gateway.http.request(method, path)
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/json"
    assert set(answer.json()["error"]) == {"message", "type", "param", "code"}
    assert ("allow" in answer.headers) == (status == 405)


@pytest.mark.parametrize("headers", [{}, {"Authorization": "Bearer sk-wrong"}, {"Authorization": "Bearer il_local_x"}])
async def test_who_has_no_good_key_is_told_of_keys_and_of_nothing_else(
    gateway: Gateway, headers: dict[str, str]
) -> None:
    async with httpx2.AsyncClient(base_url=gateway.url) as nobody:
        answer = await nobody.get("/v1/models", headers=headers)
    told = answer.json()["error"]
    assert (answer.status_code, told["type"]) == (401, "authentication_error")
    assert "API key" in told["message"]
    assert "log in" not in told["message"]
    assert "<token>" not in told["message"]


async def test_a_key_for_one_model_sees_it_also_if_no_provider_names_it(gateway: Gateway) -> None:
    headers = {"Authorization": f"Bearer {KEY}-only"}
    listed = (await gateway.http.get("/v1/models", headers=headers)).json()["data"]
    assert [(one["id"], one["owned_by"]) for one in listed] == [("only-this", "other")]
    shown = await gateway.http.get("/v1/models/only-this", headers=headers)
    assert shown.json()["id"] == "only-this"


async def test_a_model_that_no_provider_names_is_shown_if_one_takes_any_name(gateway: Gateway) -> None:
    shown = await gateway.http.get("/v1/models/made-up")
    assert (shown.status_code, shown.json()["owned_by"]) == (200, "other")
