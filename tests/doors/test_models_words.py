"""The same chats in the words of the tempo family, of OpenAI's Responses, and of workflows."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import openai
import pytest
from aiohttp import web

from model_gateway import HELLO, Gateway
from model_house import chunk, streamed


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


async def test_a_response_in_the_form_of_a_schema_is_a_chat_in_that_form(gateway: Gateway) -> None:
    schema = {"type": "object", "properties": {"a": {"type": "string"}}}
    form: Any = {"format": {"type": "json_schema", "name": "it", "schema": schema, "strict": True}}
    await gateway.openai.responses.create(model="mapped", input="hello", text=form)
    wanted = {"type": "json_schema", "json_schema": {"name": "it", "schema": schema, "strict": True}}
    assert gateway.upstream.asked[-1]["response_format"] == wanted
    await gateway.openai.responses.create(model="mapped", input="hello", text={"format": {"type": "text"}})
    assert "response_format" not in gateway.upstream.asked[-1]


@pytest.mark.parametrize(
    "more",
    [
        {"tools": [{"type": "web_search"}]},
        {"previous_response_id": "resp_1"},
        {"conversation": "conv_1"},
        {"background": True},
        {"text": {"format": {"type": "grammar"}}},
        {"input": [{"type": "function_call_output", "call_id": "c", "output": "x"}]},
    ],
)
async def test_what_responses_cannot_do_here_is_refused_by_name(gateway: Gateway, more: dict[str, Any]) -> None:
    answer = await gateway.http.post("/v1/responses", json={"model": "mapped", "input": "hello", **more})
    assert answer.status_code == 400
    error = answer.json()["error"]
    assert (error["code"], error["param"]) == ("unsupported_field", next(iter(more)))
