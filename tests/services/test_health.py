"""Probes cannot load a dependency, and cannot hang on one."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from interlock.kit.clock import ManualClock
from interlock.services import health as module
from interlock.services.health import CheckHealth


class Dependencies:
    """A store and an engine whose health the test decides."""

    def __init__(self) -> None:
        self.is_up = True
        self.answers = asyncio.Event()
        self.answers.set()
        self.asked = 0

    async def is_writable(self) -> bool:
        self.asked += 1
        await self.answers.wait()
        return self.is_up

    def is_ready(self) -> dict[str, bool]:
        return {"journal": True}


def make(dependencies: Dependencies) -> tuple[CheckHealth, ManualClock]:
    clock = ManualClock(datetime(2026, 11, 21, tzinfo=UTC))
    parts: Any = dependencies
    return CheckHealth(parts, parts, clock), clock


async def test_many_probes_are_one_question() -> None:
    dependencies = Dependencies()
    check, _ = make(dependencies)
    found = await asyncio.gather(*(check() for _ in range(100)))
    assert all(health.is_ready for health in found)
    assert found[0].checks == {"database": True, "journal": True}
    assert dependencies.asked == 1


async def test_the_answer_is_used_for_two_seconds() -> None:
    dependencies = Dependencies()
    check, clock = make(dependencies)
    await check()
    dependencies.is_up = False
    clock.advance(timedelta(seconds=1.9))
    assert (await check()).is_ready
    clock.advance(timedelta(seconds=0.2))
    assert not (await check()).is_ready
    assert dependencies.asked == 2


async def test_a_dependency_that_hangs_is_down(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "CHECK_SECONDS", 0.01)
    dependencies = Dependencies()
    dependencies.answers.clear()
    check, _ = make(dependencies)
    assert (await check()).checks["database"] is False
