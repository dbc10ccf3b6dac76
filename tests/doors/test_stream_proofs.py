"""Checks of the credentials behind open streams go on whatever becomes of one of them, and fail closed."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from interlock.core.errors import ErrorKind, InterlockError
from interlock.core.principal import Principal
from interlock.doors.http.plumbing import proofs
from interlock.doors.http.plumbing.proofs import MOST_ERRORS, Proofs
from interlock.kit.clock import SystemClock
from interlock.services.access.refusals import refused

WHO = Principal("ann", "t", frozenset())


class Desk:
    """Checks credentials as the test says: by name, what is awaited or raised."""

    def __init__(self) -> None:
        self.says: dict[str, Any] = {}
        self.asked: dict[str, int] = {}
        gate = SimpleNamespace(admit=lambda principal: principal)
        services = SimpleNamespace(access=SimpleNamespace(gate=gate), identity=self)
        self.context: Any = SimpleNamespace(services=services, clock=SystemClock())

    async def authenticate(self, credential: str) -> Principal:
        self.asked[credential] = self.asked.get(credential, 0) + 1
        what = self.says.get(credential)
        if isinstance(what, Exception):
            raise what
        if what is not None:
            await what.wait()
        return WHO


class Stream:
    """An open stream and how it ended."""

    def __init__(self, kept: Proofs, desk: Desk, credential: str) -> None:
        self.ended: asyncio.Future[InterlockError] = asyncio.get_running_loop().create_future()
        exchange: Any = SimpleNamespace(credential=credential, ends_at=None)
        self.close = kept.keep(desk.context, exchange, WHO, self.ended.set_result)

    async def error(self) -> InterlockError:
        async with asyncio.timeout(4):
            return await self.ended


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(proofs, "TURN_SECONDS", 0.01)


async def test_an_unexpected_error_of_one_check_does_not_end_the_checks_of_others() -> None:
    desk, kept = Desk(), Proofs()
    desk.says = {"odd": ValueError("nobody foresaw this")}
    odd, good = Stream(kept, desk, "odd"), Stream(kept, desk, "good")
    assert (await odd.error()).kind is ErrorKind.UNAVAILABLE
    assert desk.asked["odd"] == MOST_ERRORS
    assert not good.ended.done()
    desk.says = {"good": refused("client_disabled", "revoked")}
    assert (await good.error()).kind is ErrorKind.UNAUTHENTICATED
    odd.close(), good.close()


async def test_a_good_check_between_errors_keeps_a_stream() -> None:
    desk, kept = Desk(), Proofs()
    stream = Stream(kept, desk, "moody")
    for _ in range(3 * MOST_ERRORS):
        desk.says = {"moody": None if isinstance(desk.says.get("moody"), Exception) else ValueError("odd")}
        before = desk.asked.get("moody", 0)
        async with asyncio.timeout(4):
            while desk.asked.get("moody", 0) == before:
                await asyncio.sleep(0)
    assert not stream.ended.done()
    stream.close()


async def test_checks_that_ended_begin_again_with_the_next_stream() -> None:
    desk, kept = Desk(), Proofs()
    first = Stream(kept, desk, "first")
    task = kept._task
    assert task is not None
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    second = Stream(kept, desk, "second")
    desk.says = {name: refused("client_disabled", "revoked") for name in ("first", "second")}
    for stream in (first, second):
        assert (await stream.error()).kind is ErrorKind.UNAUTHENTICATED
        stream.close()


async def test_slow_checks_do_not_delay_the_revocation_of_another(monkeypatch: pytest.MonkeyPatch) -> None:
    desk, kept = Desk(), Proofs()
    never = asyncio.Event()
    desk.says = {f"slow{number}": never for number in range(8)}
    slow = [Stream(kept, desk, name) for name in desk.says]
    async with asyncio.timeout(4):
        while len(desk.asked) < len(slow):
            await asyncio.sleep(0)
    desk.says["third"] = refused("client_disabled", "revoked")
    third = Stream(kept, desk, "third")
    assert (await third.error()).kind is ErrorKind.UNAUTHENTICATED
    assert not any(stream.ended.done() for stream in slow)
    for stream in (*slow, third):
        stream.close()


async def test_a_check_that_hangs_is_given_up_and_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(proofs, "_CHECK_SECONDS", 0.05)
    desk, kept = Desk(), Proofs()
    desk.says = {"slow": asyncio.Event()}
    stream = Stream(kept, desk, "slow")
    async with asyncio.timeout(4):
        while desk.asked.get("slow", 0) < 2:
            await asyncio.sleep(0.01)
    desk.says = {"slow": refused("client_disabled", "revoked")}
    assert (await stream.error()).kind is ErrorKind.UNAUTHENTICATED
    stream.close()
