"""A server with a provider on loopback behind it, for the tests of the model doors: one for the test session."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, NamedTuple

import httpx2
import openai
import pytest

from model_house import ADMIN, KEY, Upstream, running_upstream
from served import start_server, stop_server

HELLO: list[Any] = [{"role": "user", "content": "hello"}]
OURS, OTHER = "sk-ours-4f9a81c2d7e60b35", "sk-other-91c2d7e60b354f9a"
SHORT = {"retry-after-ms": "1"}


class Gateway(NamedTuple):
    """A server, the provider behind it, and clients of it."""

    url: str
    pid: int
    token: str
    upstream: Upstream
    openai: openai.AsyncOpenAI
    http: httpx2.AsyncClient
    folder: Path


@pytest.fixture(scope="session")
async def gateway(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Gateway]:
    async with running_upstream() as upstream:
        prices = {name: {"input": 1.0, "output": 2.0} for name in ("priced", "cheap")}
        main = {"base_url": upstream.url, "api_key": OURS, "prices": prices}
        names = {"models": {"mapped": "their-name", "embedder": "their-embedder", "priced": "priced", "cheap": "cheap"}}
        providers = {
            "dashscope": {**main, **names},
            "other": {"base_url": upstream.url, "api_key": OTHER},
        }
        keys = {
            KEY: {"scopes": ["models:use"], "rate_limit_tier": "development"},
            ADMIN: {"scopes": ["admin"], "rate_limit_tier": "development", "tenant_id": "paying"},
            KEY + "-other": {"scopes": ["models:use"], "rate_limit_tier": "development"},
            KEY + "-seats": {"scopes": ["models:use"], "rate_limit_tier": "development"},
            KEY + "-elsewhere": {
                "scopes": ["models:use"],
                "rate_limit_tier": "development",
                "tenant_id": "elsewhere",
            },
            KEY + "-leaving": {"scopes": ["admin"], "rate_limit_tier": "development", "tenant_id": "leaving"},
            KEY + "-weak": {"scopes": ["health:check"], "rate_limit_tier": "development"},
            KEY + "-only": {"scopes": ["models:use"], "allowed_models": ["only-this"]},
            KEY + "-narrow": {"scopes": ["models:use"], "allowed_models": ["mapped"]},
        }
        folder = Path(tmp_path_factory.mktemp("models"))
        process, url, token = await asyncio.to_thread(
            start_server,
            folder,
            MCP_API_KEYS=json.dumps(keys),
            INTERLOCK_MODEL_PROVIDERS=json.dumps(providers),
        )
        client = openai.AsyncOpenAI(base_url=url + "/v1", api_key=KEY, max_retries=0)
        http = httpx2.AsyncClient(base_url=url, headers={"Authorization": f"Bearer {KEY}"}, timeout=30)
        yield Gateway(url, process.pid, token, upstream, client, http, folder)
        await http.aclose()
        await client.close()
        await asyncio.to_thread(stop_server, process)


def resident(pid: int) -> int:
    """Bytes of memory of a process."""
    with open(f"/proc/{pid}/statm") as file:
        return int(file.read().split()[1]) * 4096
