"""A stream of a model's words says that it is alive whenever nothing was said for a while."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from interlock.doors.http.plumbing import racing

PERIOD = 0.2


async def sent_by(pieces: AsyncIterator[bytes]) -> list[bytes]:
    """The parts of the body, in order."""
    sent: list[bytes] = []

    async def send(message: Any) -> None:
        sent.append(message.get("body", b""))

    async def nothing() -> Any:
        return None

    async def close() -> None:
        return None

    frames = racing.Frames(pieces, close, failed=lambda error: b"", is_over=lambda: False)
    await frames({}, nothing, send)
    return [body for body in sent if body]


async def test_a_comment_comes_within_one_period_of_the_last_word(monkeypatch: pytest.MonkeyPatch) -> None:
    """Both are timers of one loop, which runs them in order of their times, however late it is."""
    monkeypatch.setattr(racing, "KEEP_ALIVE_SECONDS", PERIOD)

    async def stalling() -> AsyncIterator[bytes]:
        await asyncio.sleep(PERIOD / 2)
        yield b"one"
        await asyncio.sleep(PERIOD * 1.4)
        yield b"two"

    assert await sent_by(stalling()) == [b"one", b": keep-alive\n\n", b"two"]


async def test_a_stream_that_goes_on_has_no_comments(monkeypatch: pytest.MonkeyPatch) -> None:
    """It lasts longer than a period; each pause is a small part of one, so that a slow machine makes none too long."""
    monkeypatch.setattr(racing, "KEEP_ALIVE_SECONDS", 1.0)

    async def steady() -> AsyncIterator[bytes]:
        for _ in range(60):
            await asyncio.sleep(0.02)
            yield b"word"

    assert await sent_by(steady()) == [b"word"] * 60
