"""What is, byte for byte, a request that was just refused is refused unread, and only that."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

import pytest

from doors.flood_house import request_bytes, wired
from interlock.doors.http.plumbing.doorstep import REMEMBERED_SECONDS
from interlock.doors.http.plumbing.intake import Intake


@pytest.fixture
def tenant_id(house: Any) -> str:
    return f"tenant-{house.ids.new()}"


def without_ids(answer: bytes) -> bytes:
    head, _, body = answer.partition(b"\r\n\r\n")
    told = json.loads(body)
    return re.sub(rb"[0-9a-f]{32}|[0-9a-f]{16}", b"", head) + json.dumps(told["message"]).encode()


async def test_the_same_head_again_is_refused_unread_in_the_same_words(house: Any, tenant_id: str) -> None:
    async with wired(house, tenant_id) as (_, http, wire):
        first = await wire.ask(request_bytes(http, more="X-Other: 1\r\n"))
        before = wire.parsed
        answers = [await wire.ask(request_bytes(http, body)) for body in (b"{}", b"[]", b"{}")]
        assert wire.parsed == before
        assert {without_ids(answer) for answer in answers} == {without_ids(first)}
        assert len(set(answers)) == 3, "each has ids of its own"


@pytest.mark.parametrize(
    "more", ["X-Trace-Id: t\r\n", "Idempotency-Key: other\r\n", "Expect: 100-continue\r\n", "Connection: close\r\n"]
)
async def test_another_head_is_read(house: Any, tenant_id: str, more: str) -> None:
    async with wired(house, tenant_id) as (_, http, wire):
        before = wire.parsed
        assert (await wire.ask(request_bytes(http, more=more)))[9:12] == b"429"
        assert wire.parsed == before + 1


async def test_what_is_not_one_whole_request_is_read(house: Any, tenant_id: str) -> None:
    async with wired(house, tenant_id) as (_, http, wire):
        before, whole = wire.parsed, request_bytes(http)
        assert (await wire.ask(whole[:-2], whole[-2:]))[9:12] == b"429"
        assert (await wire.ask(whole[:40], whole[40:]))[9:12] == b"429"
        assert wire.parsed == before + 2
        both = await wire.ask(whole + whole)
        await wire.at_rest()
        assert wire.parsed == before + 4
        assert both.count(b"HTTP/1.1 429") == 2


async def test_a_head_is_refused_unread_for_a_second_only_and_never_once_the_window_is_open(
    house: Any, tenant_id: str
) -> None:
    async with wired(house, tenant_id) as (flood, http, wire):
        before = wire.parsed
        flood.clock.seconds += REMEMBERED_SECONDS + 0.1
        assert (await wire.ask(request_bytes(http)))[9:12] == b"429"
        assert wire.parsed == before + 1
        flood.clock.seconds += 61
        assert (await wire.ask(request_bytes(http)))[9:12] == b"404"


async def test_another_caller_another_address_and_a_busy_connection_are_read(house: Any, tenant_id: str) -> None:
    async with wired(house, tenant_id) as (flood, http, wire):
        before = wire.parsed
        async with flood.client(tenant_id, "bob") as other:
            assert (await wire.ask(request_bytes(other)))[9:12] == b"404"
        wire.protocol.address = "10.0.0.9"
        await wire.ask(request_bytes(http))
        wire.protocol.address = "127.0.0.1"
        wire.protocol.watched.is_draining = True
        assert b"connection: close" in await wire.ask(request_bytes(http))
        assert wire.parsed == before + 3


async def test_who_was_looked_at_a_second_ago_is_looked_at_again(house: Any, tenant_id: str) -> None:
    """Also when its head was read and kept a moment ago."""
    async with wired(house, tenant_id) as (flood, http, wire):
        flood.clock.seconds += REMEMBERED_SECONDS - 0.1
        other = request_bytes(http, more="X-Other: 1\r\n")
        await wire.ask(other)
        asked = flood.limiter.times
        flood.clock.seconds += 0.2
        await wire.ask(other)
        assert flood.limiter.times == asked + 1


async def test_the_rest_of_a_head_is_no_head(house: Any, tenant_id: str) -> None:
    """Behind a whole request comes the first byte of the next, then its rest, which looks like a head."""
    async with wired(house, tenant_id) as (_, http, wire):
        whole = request_bytes(http)
        for _ in range(2):
            await wire.ask(whole + whole[:1])
            await wire.at_rest()
            await wire.ask(whole[1:])
            await wire.at_rest()
        assert b" 429 " not in await wire.ask(whole[1:])


class Crowded(Intake):
    """Has no room, and a crowd in every line."""

    def __init__(self) -> None:
        super().__init__()
        self.waiting: list[Callable[[bool], None]] = []

    def has_room(self) -> bool:
        return False

    def is_crowded(self, asker: str) -> bool:
        return True

    def postpone(self, asker: str, begin: Callable[[bool], None]) -> None:
        self.waiting.append(begin)


async def test_in_a_crowd_it_does_not_even_wait_for_its_turn(house: Any, tenant_id: str) -> None:
    async with wired(house, tenant_id) as (_, http, wire):
        intake = wire.protocol.watched.intake = Crowded()
        wire.send(request_bytes(http))
        assert wire.written == b"", "nobody was refused for a crowd yet: it waits"
        intake.waiting.pop()(True)
        first, before = wire.written, wire.parsed
        wire.send(request_bytes(http))
        assert without_ids(wire.written) == without_ids(first)
        wire.send(request_bytes(http, more="X-Other: 1\r\n"))
        assert wire.written == b"", "what nobody knows waits for its turn"
        assert wire.parsed == before
