"""Who waits for a run, and when one is given up."""

from __future__ import annotations

import asyncio
from uuid import UUID

import pytest

from interlock.core.errors import unavailable
from interlock.services.drafts.waiting import Waiting

RUN, OTHER = UUID(int=1), UUID(int=2)
LONG = 60.0


class GivenUp:
    """Counts how often, and says when."""

    def __init__(self) -> None:
        self.times = 0
        self.seen = asyncio.Event()

    async def __call__(self) -> None:
        self.times += 1
        self.seen.set()


async def test_the_last_one_who_leaves_has_it_given_up() -> None:
    waiting, given_up = Waiting(), GivenUp()
    for _ in range(3):
        waiting.join(RUN)
    waiting.join(OTHER)
    assert waiting.leave(RUN, given_up, 0) is None
    waiting.hear(RUN)
    assert given_up.times == 0
    task = waiting.leave(RUN, given_up, 0)
    assert task is not None
    await task
    assert given_up.times == 1


async def test_who_comes_within_the_grace_finds_it_going_on() -> None:
    waiting, given_up = Waiting(), GivenUp()
    waiting.join(RUN)
    assert waiting.leave(RUN, given_up, 0.01) is None
    waiting.join(RUN)
    waiting.join(OTHER)
    waiting.leave(OTHER, given_up, 0.02)
    async with asyncio.timeout(10):
        await given_up.seen.wait()
    assert given_up.times == 1, "that of the other, which was to come later"


async def test_each_leaving_begins_the_grace_anew() -> None:
    waiting, given_up = Waiting(), GivenUp()
    for grace in (LONG, 0.01):
        waiting.join(RUN)
        waiting.leave(RUN, given_up, grace)
    async with asyncio.timeout(10):
        await given_up.seen.wait()
    assert given_up.times == 1


async def test_what_cannot_be_given_up_now_breaks_nothing(caplog: pytest.LogCaptureFixture) -> None:
    async def fail() -> None:
        raise unavailable("The database is away")

    waiting = Waiting()
    waiting.join(RUN)
    task = waiting.leave(RUN, fail, 0)
    assert task is not None
    await task
