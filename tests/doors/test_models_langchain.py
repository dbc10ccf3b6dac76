"""LangChain's clients work with nothing but our base URL."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from langchain_openai import ChatOpenAI, OpenAIEmbeddings
from pydantic import SecretStr

from model_house import KEY, running_upstream
from served import start_server, stop_server


@pytest.fixture(scope="module")
async def url(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[str]:
    async with running_upstream() as upstream:
        keys = {KEY: {"scopes": ["models:use"], "rate_limit_tier": "development"}}
        provider = {"base_url": upstream.url, "api_key": "sk-ours", "batch": 10}
        process, url, _ = await asyncio.to_thread(
            start_server,
            Path(tmp_path_factory.mktemp("langchain")),
            MCP_API_KEYS=json.dumps(keys),
            INTERLOCK_MODEL_PROVIDERS=json.dumps({"dashscope": provider}),
        )
        yield url + "/v1"
        await asyncio.to_thread(stop_server, process)


async def test_chat_openai_answers_and_streams(url: str) -> None:
    model = ChatOpenAI(base_url=url, api_key=SecretStr(KEY), model="m", stream_usage=True)
    answer = await model.ainvoke("hello")
    assert answer.content == "Hello there"
    assert answer.usage_metadata is not None
    assert answer.usage_metadata["output_tokens"] == 12
    assert "".join([str(part.content) async for part in model.astream("hello")]) == "Hello there"
    await model.root_async_client.close()


async def test_openai_embeddings_embed_more_texts_than_the_provider_takes(url: str) -> None:
    model = OpenAIEmbeddings(base_url=url, api_key=SecretStr(KEY), model="e", check_embedding_ctx_length=False)
    vectors = await model.aembed_documents([str(number) for number in range(23)])
    assert [vector[0] for vector in vectors] == [float(number) for number in range(23)]
    await model.async_client._client.close()
