"""Probes cannot load a dependency, and cannot hang on one."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from interlock.core.errors import unavailable
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
        self.tried = 0

    async def is_writable(self) -> bool:
        self.asked += 1
        await self.answers.wait()
        return self.is_up

    def is_ready(self) -> dict[str, bool]:
        return {"journal": True}

    kind = "s3"

    async def check(self) -> None:
        self.tried += 1
        if not self.is_up:
            raise unavailable("not now")


def make(dependencies: Dependencies) -> tuple[CheckHealth, ManualClock]:
    clock = ManualClock(datetime(2026, 11, 21, tzinfo=UTC))
    parts: Any = dependencies
    return CheckHealth(parts, parts, parts, clock), clock


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


async def test_an_executor_that_can_run_nothing_is_told_and_does_not_keep_work_away() -> None:
    parts: Any = Dependencies()
    clock = ManualClock(datetime(2026, 11, 21, tzinfo=UTC))
    health = await CheckHealth(parts, parts, parts, clock, lambda: "unavailable: no host")()
    assert (health.executor, health.is_ready) == ("unavailable: no host", True)


async def test_the_store_of_large_values_is_tried_beside_and_does_not_keep_work_away() -> None:
    before = asyncio.all_tasks()  # of other tests' houses

    async def begun() -> None:
        """Let what was begun beside the test end."""
        await asyncio.gather(*(asyncio.all_tasks() - before))

    dependencies = Dependencies()
    check, clock = make(dependencies)
    for _ in range(3):
        assert (await check()).blobs == "s3"
        await begun()
    assert dependencies.tried == 1
    dependencies.is_up = False
    clock.advance(timedelta(seconds=module.BLOBS_SECONDS))
    await check()
    await begun()
    dependencies.is_up = True
    clock.advance(timedelta(seconds=module.REUSE_SECONDS))
    found = await check()
    assert (found.blobs, found.is_ready, dependencies.tried) == ("unavailable", True, 2)
