"""LangChain's clients work with nothing but our base URL."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import openai
import pytest
from aiohttp import web
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI, OpenAIEmbeddings
from pydantic import SecretStr

from model_gateway import SHORT, Gateway
from model_house import DONE, KEY, chunk, event, refusing, streamed


@tool
def weather(city: str) -> str:
    """How the weather is."""
    return city


@pytest.fixture(scope="module")
async def chat(gateway: Gateway) -> AsyncIterator[ChatOpenAI]:
    model = ChatOpenAI(
        base_url=gateway.url + "/v1", api_key=SecretStr(KEY), model="mapped", stream_usage=True, max_retries=0
    )
    yield model
    await model.root_async_client.close()


async def test_chat_openai_answers_and_streams(chat: ChatOpenAI) -> None:
    answer = await chat.ainvoke("hello")
    assert answer.content == "Hello there"
    assert answer.usage_metadata is not None
    assert answer.usage_metadata["output_tokens"] == 12
    assert "".join([str(part.content) async for part in chat.astream("hello")]) == "Hello there"


def calling(pieces: list[str]) -> Any:
    """A model that wants a tool, and says so in pieces."""

    async def answer(request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
        call = {"index": 0, "id": "c1", "type": "function", "function": {"name": "weather", "arguments": ""}}
        deltas: list[dict[str, Any]] = [{"role": "assistant", "tool_calls": [call]}]
        deltas += [{"tool_calls": [{"index": 0, "function": {"arguments": piece}}]} for piece in pieces]
        head = {"id": "c1", "object": "chat.completion.chunk", "created": 1, "model": "m"}
        events = [event({**head, "choices": [{"index": 0, "delta": delta, "finish_reason": None}]}) for delta in deltas]
        return await streamed(request, [*events, chunk(reason="tool_calls"), DONE])

    return answer


async def test_tools_that_a_model_wants_arrive_bit_by_bit(gateway: Gateway, chat: ChatOpenAI) -> None:
    gateway.upstream.answers["wants-a-tool"] = calling(['{"ci', 'ty": "Ber', 'lin"}'])
    asking = chat.model_copy(update={"model_name": "wants-a-tool"}).bind_tools([weather])
    whole: Any = None
    async for part in asking.astream("How is the weather in Berlin?"):
        whole = part if whole is None else whole + part
    assert [(call["name"], call["args"]) for call in whole.tool_calls] == [("weather", {"city": "Berlin"})]
    assert gateway.upstream.of("wants-a-tool")[-1]["tools"][0]["function"]["name"] == "weather"


async def test_arguments_that_are_no_json_are_told_as_such(gateway: Gateway, chat: ChatOpenAI) -> None:
    gateway.upstream.answers["wants-wrongly"] = calling(['{"city": Ber'])
    asking = chat.model_copy(update={"model_name": "wants-wrongly"}).bind_tools([weather])
    whole: Any = None
    async for part in asking.astream("How is the weather?"):
        whole = part if whole is None else whole + part
    assert [call["args"] for call in whole.tool_call_chunks] == ['{"city": Ber']


async def test_refusals_are_those_of_openais_client(gateway: Gateway, chat: ChatOpenAI) -> None:
    gateway.upstream.answers["refusing-langchain"] = refusing(400, 429, 429, 429, **SHORT)
    asking = chat.model_copy(update={"model_name": "refusing-langchain"})
    with pytest.raises(openai.BadRequestError):
        await asking.ainvoke("hello")
    with pytest.raises(openai.InternalServerError):
        await asking.ainvoke("hello")


async def test_openai_embeddings_embed_more_texts_than_the_provider_takes(gateway: Gateway) -> None:
    url = gateway.url + "/v1"
    model = OpenAIEmbeddings(
        base_url=url, api_key=SecretStr(KEY), model="embedder", check_embedding_ctx_length=False, max_retries=0
    )
    vectors = await model.aembed_documents([str(number) for number in range(23)])
    assert [vector[0] for vector in vectors] == [float(number) for number in range(23)]
    assert (await model.aembed_query("7"))[0] == 7.0
    await model.async_client._client.close()
