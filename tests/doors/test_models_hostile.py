"""``/v1`` before providers that break, and callers who want what they may not have."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import openai
import pytest
from aiohttp import web

from interlock.core.models.requests import read_chat
from model_gateway import HELLO, OTHER, OURS, SHORT, Gateway, resident
from model_house import DONE, KEY, chunk, event, streamed


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/api/llm/chat"])
@pytest.mark.parametrize("name", ["base_url", "api_base", "proxy", "headers", "extra_headers", "custom_provider"])
async def test_where_a_call_goes_is_not_for_the_caller_to_say(gateway: Gateway, path: str, name: str) -> None:
    """J7."""
    before = len(gateway.upstream.asked)
    answer = await gateway.http.post(path, json={"model": "m", "messages": HELLO, name: gateway.upstream.url})
    assert answer.status_code == 422
    assert len(gateway.upstream.asked) == before


@pytest.mark.parametrize("url", ["http://169.254.169.254/x", "https://127.0.0.1/x", "https://localhost/x", "file:///x"])
async def test_messages_may_name_public_addresses_only(gateway: Gateway, url: str) -> None:
    """J7."""
    parts = [{"type": "image_url", "image_url": {"url": url}}]
    body = {"model": "m", "messages": [{"role": "user", "content": parts}]}
    answer = await gateway.http.post("/v1/chat/completions", json=body)
    assert answer.status_code == 422


async def test_a_stream_with_an_event_that_is_not_json_ends_with_an_error_that_clients_know(gateway: Gateway) -> None:
    async def wrong(request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
        return await streamed(request, [chunk("Hel"), b"data: {nope\n\n", chunk("lo"), DONE])

    gateway.upstream.answers["wrong"] = wrong
    stream = await gateway.openai.chat.completions.create(model="wrong", messages=HELLO, stream=True)
    assert (await anext(aiter(stream))).choices[0].delta.content == "Hel"
    with pytest.raises(openai.APIError):
        await anext(aiter(stream))
    answer = await gateway.http.post("/v1/chat/completions", json={"model": "wrong", "messages": HELLO, "stream": True})
    assert "[DONE]" not in answer.text
    assert "nope" not in answer.text


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

    gateway.upstream.answers["cheap"] = slow
    headers = {"Authorization": f"Bearer {KEY}-leaving"}
    await gateway.http.put("/v1/budgets/tenant", json={"cap_usd": 1}, headers=headers)
    spent = await spent_by(gateway, headers)
    body = {"model": "cheap", "messages": HELLO, "stream": is_stream, "max_tokens": 100}
    request = gateway.http.build_request("POST", "/v1/chat/completions", json=body, headers=headers)
    before = len(gateway.upstream.of("cheap"))
    calling = asyncio.create_task(gateway.http.send(request, stream=True))
    async with asyncio.timeout(10):
        while len(gateway.upstream.of("cheap")) == before:
            await asyncio.sleep(0.01)
    if is_stream:
        answer = await calling
        await answer.aclose()
    else:
        calling.cancel()
    async with asyncio.timeout(1):
        while await gateway.upstream.broken_off.get() != "cheap":
            pass
    async with asyncio.timeout(10):
        while (booked := await spent_by(gateway, headers) - spent) == 0:
            await asyncio.sleep(0.02)
    if not is_stream:  # it may have been at the last of its tokens
        assert booked == pytest.approx(set_aside(body))
    assert 0 < booked <= set_aside(body) * 1.000001


async def spent_by(gateway: Gateway, headers: dict[str, str]) -> float:
    """US dollars that the tenant of a key has spent."""
    told: float = (await gateway.http.get("/v1/budgets", headers=headers)).json()["data"][0]["spent_usd"]
    return told


def set_aside(body: dict[str, Any]) -> float:
    """US dollars that a call of ``cheap`` may cost."""
    request = read_chat(body)
    return (request.most_prompt * 1.0 + request.most_output * 2.0) / 1_000_000


FIELDS = ("api_base", "base_url", "extra_headers", "proxy", "custom_provider", "custom_llm_provider", "api_key")
BODIES: dict[str, dict[str, Any]] = {
    "/v1/chat/completions": {"model": "m", "messages": HELLO},
    "/v1/embeddings": {"model": "m", "input": "x"},
    "/v1/responses": {"model": "m", "input": "x"},
    "/api/llm/chat": {"model": "m", "messages": HELLO},
    "/api/llm/embedding": {"model": "m", "texts": ["x"]},
}


async def test_an_address_of_the_caller_is_never_called(gateway: Gateway) -> None:
    """J7."""
    visits: list[bytes] = []

    async def visited(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        visits.append(await reader.read(1000))
        writer.close()

    listener = await asyncio.start_server(visited, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{listener.sockets[0].getsockname()[1]}/v1"
    for path, body in BODIES.items():
        for field in FIELDS:
            value: Any = {"Authorization": url} if field == "extra_headers" else url
            answer = await gateway.http.post(path, json={**body, field: value})
            assert answer.status_code == 422, (path, field)
    parts: tuple[dict[str, Any], ...] = (
        {"type": "image_url", "image_url": {"url": url}},
        {"type": "file", "file_url": url},
        {"type": "file", "file": {"file_url": url}},
        {"type": "video", "video": [url]},
        {"type": "image", "image": url},
        {"type": "input_audio", "input_audio": {"data": url, "format": "wav"}},
    )
    for part in parts:
        history = [{"role": "user", "content": [part]}, *HELLO]
        answer = await gateway.http.post("/v1/chat/completions", json={"model": "m", "messages": history})
        assert answer.status_code == 422
    listener.close()
    await listener.wait_closed()
    assert visits == []


@pytest.mark.parametrize("status", [400, 401, 403, 429, 500])
@pytest.mark.parametrize("path", ["/v1/chat/completions", "/api/llm/chat"])
async def test_a_provider_that_repeats_our_key_tells_it_to_nobody(gateway: Gateway, path: str, status: int) -> None:
    """H2."""

    async def echo(request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
        told = f"{request.headers['Authorization']} at {request.url}"
        error = {"message": told, "type": told, "param": told, "code": OTHER}
        return web.json_response({"error": error, "code": OTHER}, status=status, headers=SHORT)

    model = f"echo-{status}"
    gateway.upstream.answers[model] = echo
    answer = await gateway.http.post(path, json={"model": model, "messages": HELLO})
    assert answer.status_code in (400, 422, 502)
    everything = answer.text + str(answer.headers)
    assert OTHER not in everything
    assert gateway.upstream.url.partition("://")[2] not in everything


async def test_a_provider_that_repeats_our_key_in_mid_stream_tells_it_to_nobody(gateway: Gateway) -> None:
    """H2."""

    async def echo(request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
        error = {"message": request.headers["Authorization"], "code": OTHER, "type": OTHER}
        return await streamed(request, [chunk("Hel"), event({"error": error})])

    gateway.upstream.answers["echo"] = echo
    for path in ("/v1/chat/completions", "/v1/responses", "/api/llm/chat"):
        answer = await gateway.http.post(path, json={**BODIES[path], "model": "echo", "stream": True})
        assert "Hel" in answer.text
        assert OTHER not in answer.text


async def test_no_log_line_holds_a_key_of_a_provider(gateway: Gateway) -> None:
    """H2."""
    logged = (gateway.folder / "server.log").read_text()
    assert OURS not in logged
    assert OTHER not in logged


async def test_an_answer_of_fifty_megabytes_is_refused_and_not_kept(gateway: Gateway) -> None:
    async def endless(request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
        return await streamed(request, [b'{"a": "', *([b"x" * 1_048_576] * 50)])

    gateway.upstream.answers["large"] = endless
    before = resident(gateway.pid)
    answer = await gateway.http.post("/v1/chat/completions", json={"model": "large", "messages": HELLO})
    assert answer.status_code == 502
    assert resident(gateway.pid) - before < 50 * 1_048_576


@pytest.mark.parametrize("answer", [b"[]", b'"x"', b'{"usage": 3}', b'{"choices": [', b"\xff"])
async def test_answers_in_another_shape_are_errors_of_the_provider(gateway: Gateway, answer: bytes) -> None:
    async def odd(request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
        return web.Response(body=answer, content_type="application/json")

    gateway.upstream.answers["odd"] = odd
    for path in ("/v1/chat/completions", "/v1/responses", "/api/llm/chat"):
        told = await gateway.http.post(path, json={**BODIES[path], "model": "odd"})
        assert told.status_code == 502, (path, told.text)


async def test_what_was_used_until_the_caller_left_is_booked(gateway: Gateway) -> None:
    async def slow(request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
        return await streamed(request, [chunk("Hello ")] * 7, then=asyncio.sleep(60))

    gateway.upstream.answers["cheap"] = slow
    headers = {"Authorization": f"Bearer {KEY}-leaving"}
    await gateway.http.put("/v1/budgets/tenant", json={"cap_usd": 1}, headers=headers)
    before = await spent_by(gateway, headers)
    body = {"model": "cheap", "messages": HELLO, "stream": True, "max_tokens": 100}
    request = gateway.http.build_request("POST", "/v1/chat/completions", json=body, headers=headers)
    answer = await gateway.http.send(request, stream=True)
    read = b""
    async for piece in answer.aiter_bytes():
        read += piece
        if read.count(b"Hello ") == 7:
            break
    await answer.aclose()
    async with asyncio.timeout(1):
        while await gateway.upstream.broken_off.get() != "cheap":
            pass
    async with asyncio.timeout(10):
        while not (spent := await spent_by(gateway, headers) - before):
            await asyncio.sleep(0.02)
    prompt, most = 8 * 1.0 / 1e6, 100 * 2.0 / 1e6
    assert prompt + 7 * 2.0 / 1e6 <= spent < prompt + most
