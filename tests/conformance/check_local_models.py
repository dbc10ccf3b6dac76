"""The local models, for real: `python -m pytest tests/conformance/check_local_models.py`.

Not collected with the other tests, because it needs the packages of the group `local-model`. Nothing is said about
what the models mean, only about what they do.
"""

from __future__ import annotations

import asyncio
import base64
import json
import struct
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import openai
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from interlock.backends.models.local import chat, embedder
from interlock.backends.models.local.packages import require_installed
from interlock.backends.models.local.provider import LocalProvider
from interlock.core.models.requests import read_chat, read_embeddings
from provider_trial import CHECKS, Trial
from served import start_server, stop_server

require_installed()

KEY = "il-a-key-of-the-local-model-tests-0123456789"


@pytest.fixture(scope="module")
async def trial() -> AsyncIterator[Trial]:
    provider = LocalProvider()
    yield Trial(provider, chat.MODEL, embedder.MODEL)
    provider.close()


@pytest.mark.parametrize("check", CHECKS)
async def test_the_local_provider_keeps_the_promises_of_its_port(trial: Trial, check: str) -> None:
    await getattr(trial, check)()


async def test_what_is_wanted_as_json_is_json(trial: Trial) -> None:
    schema = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
    wanted = {"type": "json_schema", "json_schema": {"name": "place", "schema": schema}}
    body = trial.chat_body("In which city is the Brandenburg Gate?", response_format=wanted, max_tokens=60)
    _, answer = await trial.ask("chat", body)
    told = msgspec.json.decode(answer)["choices"][0]["message"]["content"]
    assert set(json.loads(told)) == {"city"}


@pytest.mark.parametrize(
    "more",
    [
        {"tools": [{"type": "function", "function": {"name": "f", "parameters": {}}}]},
        {"n": 2},
        {"response_format": {"type": "nonsense"}},
        {"messages": [{"role": "user", "content": "word " * 5_000}]},
    ],
)
async def test_what_it_cannot_do_is_refused(trial: Trial, more: dict[str, Any]) -> None:
    for is_stream in (False, True):
        status, answer = await trial.ask("chat", trial.chat_body(stream=is_stream, **more))
        assert status == 400, answer


async def test_the_loop_turns_while_an_answer_is_made(trial: Trial) -> None:
    turns = 0

    async def turn() -> None:
        nonlocal turns
        while True:
            await asyncio.sleep(0.005)
            turns += 1

    turning = asyncio.create_task(turn())
    await trial.ask("chat", trial.chat_body("Tell me a story.", max_tokens=40))
    turning.cancel()
    assert turns > 20


async def test_vectors_can_be_packed_and_have_one_length(trial: Trial) -> None:
    texts = ["one", "two"]
    _, plain = await trial.ask("embeddings", {"model": "e", "input": texts})
    _, packed = await trial.ask("embeddings", {"model": "e", "input": texts, "encoding_format": "base64"})
    rows = msgspec.json.decode(plain)["data"]
    for row, other in zip(rows, msgspec.json.decode(packed)["data"], strict=True):
        numbers = struct.unpack(f"<{embedder.DIMENSIONS}f", base64.b64decode(other["embedding"]))
        assert numbers == pytest.approx(row["embedding"], abs=1e-6)
        assert sum(number * number for number in numbers) == pytest.approx(1.0, abs=1e-3)


@settings(max_examples=25, deadline=None)
@given(
    texts=st.lists(
        st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\0"), max_size=200),
        min_size=1,
        max_size=3,
    )
)
async def test_no_prompt_has_more_tokens_than_are_set_aside_for_it(trial: Trial, texts: list[str]) -> None:
    messages = [{"role": "user", "content": text or "x"} for text in texts]
    body = {"model": chat.MODEL, "messages": messages, "max_tokens": 1}
    status, answer = await trial.ask("chat", body)
    assert status == 200, answer
    assert msgspec.json.decode(answer)["usage"]["prompt_tokens"] <= read_chat(body).most_prompt
    asked = {"model": embedder.MODEL, "input": [text or "x" for text in texts]}
    _, answer = await trial.ask("embeddings", asked)
    assert msgspec.json.decode(answer)["usage"]["prompt_tokens"] <= read_embeddings(asked).most_prompt


async def test_a_server_serves_them_to_clients_of_openai(tmp_path: Path) -> None:
    keys = {KEY: {"scopes": ["models:use"], "rate_limit_tier": "development"}}
    process, url, _ = await asyncio.to_thread(
        start_server, tmp_path, MCP_API_KEYS=json.dumps(keys), INTERLOCK_MODEL_LOCAL="true"
    )
    async with openai.AsyncOpenAI(base_url=url + "/v1", api_key=KEY, max_retries=0) as client:
        assert [one.id async for one in client.models.list()] == [embedder.MODEL, chat.MODEL]
        hello: Any = [{"role": "user", "content": "Say hello."}]
        whole = await client.chat.completions.create(model=chat.MODEL, messages=hello, max_tokens=8, temperature=0)
        stream = await client.chat.completions.create(
            model=chat.MODEL, messages=hello, max_tokens=8, temperature=0, stream=True
        )
        parts = [one.choices[0].delta.content or "" async for one in stream]
        assert "".join(parts) == whole.choices[0].message.content
        vectors = await client.embeddings.create(model=embedder.MODEL, input=["one", "two"])
        assert [len(row.embedding) for row in vectors.data] == [embedder.DIMENSIONS] * 2
        with pytest.raises(openai.BadRequestError):
            await client.chat.completions.create(model=chat.MODEL, messages=hello, n=2)
    assert await asyncio.to_thread(stop_server, process) == 0
