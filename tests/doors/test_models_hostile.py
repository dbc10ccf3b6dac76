"""``/v1`` before providers that break, and callers who want what they may not have."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import openai
import pytest
from aiohttp import web

from model_gateway import HELLO, Gateway, resident
from model_house import chunk, event, streamed


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
