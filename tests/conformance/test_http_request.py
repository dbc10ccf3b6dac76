"""The node http_request with nothing replaced: a real server, the guarded client, and each executor."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from uuid import UUID

import pytest
import pytest_asyncio
from aiohttp import web

from conformance.executor_trial import KeptBlobs, Trial
from interlock.backends.egress.client import GuardedEgress
from interlock.backends.executor.inline import InlineExecutor
from interlock.backends.executor.pool.executor import PoolExecutor
from interlock.core.effects import effect_key
from interlock.nodes import load
from interlock.nodes.testing import ScriptedEgress
from interlock.ports.executor import Executor


@dataclass
class Site:
    """A server that remembers what it was sent."""

    url: str = ""
    keys: list[str | None] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)
    asked: asyncio.Event = field(default_factory=asyncio.Event)
    hung_up: asyncio.Event = field(default_factory=asyncio.Event)

    async def answer(self, request: web.BaseRequest) -> web.StreamResponse:
        self.keys.append(request.headers.get("Idempotency-Key"))
        self.bodies.append(await request.read())
        if request.path == "/slow":
            return await self._hang()
        if request.path == "/busy":
            return web.Response(status=503, text="come back later")
        if request.path == "/large":
            return web.Response(body=b"x" * 2_000_000, content_type="application/json")
        return web.json_response({"method": request.method})

    async def _hang(self) -> web.StreamResponse:
        self.asked.set()
        try:
            await asyncio.sleep(60)
        finally:
            self.hung_up.set()
        return web.Response()


@pytest_asyncio.fixture
async def site() -> AsyncIterator[Site]:
    site = Site()
    runner = web.ServerRunner(web.Server(site.answer, handler_cancellation=True), shutdown_timeout=1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    site.url = "http://127.0.0.1:{1}".format(*runner.addresses[0])
    yield site
    await runner.cleanup()


@pytest_asyncio.fixture(scope="module", params=["inline", "process"])
async def trial(request: pytest.FixtureRequest) -> AsyncIterator[Trial]:
    egress, blobs = GuardedEgress(["127.0.0.1/32"]), KeptBlobs()
    executor: Executor = InlineExecutor(load(), egress, blobs)
    if request.param == "process":
        executor = PoolExecutor("interlock.nodes:load", egress, blobs, size=1)
    await executor.start()
    yield Trial(executor, ScriptedEgress([]), blobs)
    await executor.stop(5)
    await egress.close()


async def test_an_answer_is_given_with_its_json(trial: Trial, site: Site) -> None:
    output = (await trial.submit("http_request", {"url": site.url, "method": "POST", "body": {"a": 1}}).end()).output
    assert (output["status_code"], output["json"]) == (200, {"method": "POST"})
    assert output["headers"]["content-type"].startswith("application/json")
    assert site.bodies == [b'{"a":1}']


async def test_each_attempt_of_a_task_sends_the_same_key(trial: Trial, site: Site) -> None:
    parameters = {"url": f"{site.url}/busy", "method": "PUT"}
    for attempt in (1, 2):
        submitted = trial.submit("http_request", parameters, attempt=attempt, execution_id=UUID(int=7))
        error = (await submitted.end()).error
        assert (error.code, error.retryable) == ("HTTP_STATUS", True)
        assert error.details == {"status_code": 503, "body": "come back later"}
    assert site.keys == [effect_key(UUID(int=7), "task")] * 2


async def test_a_body_is_cut_at_one_mebibyte(trial: Trial, site: Site) -> None:
    output = (await trial.submit("http_request", {"url": f"{site.url}/large"}).end()).output
    assert (len(output["body"]), output["truncated"]) == (1_048_576, True)
    assert "json" not in output


async def test_an_address_that_is_not_allowed_is_refused(trial: Trial) -> None:
    error = (await trial.submit("http_request", {"url": "http://169.254.169.254/latest"}).end()).error
    assert (error.code, error.retryable) == ("EGRESS_BLOCKED", False)


async def test_a_call_has_its_time(trial: Trial, site: Site) -> None:
    error = (await trial.submit("http_request", {"url": f"{site.url}/slow", "timeout": 0.3}).end()).error
    assert (error.code, error.retryable) == ("TIMEOUT", True)


async def test_cancel_hangs_up(trial: Trial, site: Site) -> None:
    submitted = trial.submit("http_request", {"url": f"{site.url}/slow"})
    async with asyncio.timeout(10):
        await site.asked.wait()
    submitted.cancel()
    async with asyncio.timeout(5):
        await site.hung_up.wait()
    assert submitted.results == []
