"""Slow, silent, greedy and ambiguous clients, over real sockets: each is refused in time, and nobody else notices."""

from __future__ import annotations

import asyncio
import json
import time
from typing import Any

import pytest

from interlock.doors.http.plumbing.connections import SWEEP_SECONDS, WireLimits
from interlock.doors.http.plumbing.intake import Intake
from wire_house import BIG, GET, LIMITS, SLACK, Served


async def test_a_silent_connection_is_closed_without_a_word(served: Served) -> None:
    client = await served.connect()
    assert await client.rest() == b""
    assert LIMITS.first_byte <= client.lasted < LIMITS.first_byte + SLACK
    assert served.app.seen == []


async def test_more_than_a_turn_takes_up_is_answered_too_and_who_leaves_meanwhile_harms_nobody(served: Served) -> None:
    served.connections.intake = Intake(1)
    clients = [await served.connect() for _ in range(30)]
    for client in clients:
        client.send(b"POST /x HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nab")
    for client in clients[::3]:
        client.close()
    staying = [client for number, client in enumerate(clients) if number % 3]
    for client in staying:
        client.send(b"c" + GET)
    for client in staying:
        assert [(await client.answer())[0] for _ in range(2)] == [200, 200]


async def test_trickled_headers_are_cut_off(served: Served) -> None:
    client = await served.connect()
    told = await client.trickle(b"GET /x HTTP/1.1\r\nHost: h\r\nX-Slow: " + b"x" * 100)
    assert told.startswith(b"HTTP/1.1 408 ")
    assert client.lasted < LIMITS.headers + SLACK
    assert served.app.seen == []


async def test_empty_lines_do_not_keep_a_connection_open(served: Served) -> None:
    client = await served.connect()
    await client.trickle(b"\r\n" * 100)
    assert client.lasted < LIMITS.headers + SLACK


async def test_empty_lines_after_an_answer_do_not_either(served: Served) -> None:
    client = await served.connect()
    client.send(GET)
    await client.answer()
    client.began = time.monotonic()
    await client.trickle(b"\r\n" * 100)
    assert client.lasted < LIMITS.headers + SLACK


@pytest.mark.parametrize("framing", [b"Content-Length: 1000", b"Transfer-Encoding: chunked"])
async def test_a_trickled_body_is_cut_off_and_the_app_hears_of_it(served: Served, framing: bytes) -> None:
    client = await served.connect()
    client.send(b"POST /x HTTP/1.1\r\nHost: h\r\n" + framing + b"\r\n\r\n")
    assert (await client.trickle(b"1\r\nx\r\n" * 50)).startswith(b"HTTP/1.1 408 ")
    assert client.lasted < LIMITS.body_grace + SLACK + 0.5
    assert served.app.cut == 1


async def test_a_body_that_comes_fast_enough_may_take_longer(served: Served) -> None:
    client = await served.connect()
    client.send(b"POST /x HTTP/1.1\r\nHost: h\r\nContent-Length: 8000\r\n\r\n")
    for _ in range(20):
        client.send(b"x" * 400)
        await asyncio.sleep(0.15)
    assert (await client.answer())[0] == 200
    assert client.lasted > LIMITS.body_grace + SWEEP_SECONDS


async def test_time_in_which_the_app_does_not_read_is_not_the_clients(served: Served) -> None:
    client = await served.connect()
    client.send(b"POST /late HTTP/1.1\r\nHost: h\r\nContent-Length: 300000\r\n\r\n" + b"x" * 150_000)
    client.send(b"x" * 150_000)
    assert json.loads((await client.answer())[1])["length"] == 300_000


async def test_a_client_that_does_not_read_is_dropped(served: Served) -> None:
    client = await served.connect(limit=1024)
    client.send(b"GET /big HTTP/1.1\r\nHost: h\r\n\r\n")
    async with asyncio.timeout(LIMITS.stalled + SLACK):
        while not served.connections.refused["stalled"]:
            await asyncio.sleep(0.05)
    assert len(await client.rest()) < BIG


async def test_a_stream_may_last_and_idle_connections_may_wait(served: Served) -> None:
    stream, idle = await served.connect(), await served.connect()
    stream.send(b"GET /stream HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
    idle.send(GET)
    await idle.answer()
    assert (await stream.rest()).endswith(b"end\n\r\n0\r\n\r\n")
    idle.send(GET)
    assert (await idle.answer())[0] == 200


async def test_a_stray_line_end_behind_a_request_does_not_end_its_stream(served: Served) -> None:
    client = await served.connect()
    client.send(b"GET /stream HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n\r\n")
    assert b"end\n" in await client.rest()


async def test_pipelined_requests_are_answered_in_order(served: Served) -> None:
    client = await served.connect()
    client.send(b"".join(b"GET /%d HTTP/1.1\r\nHost: h\r\n\r\n" % number for number in range(5)))
    assert [(await client.answer())[0] for _ in range(5)] == [200] * 5
    assert served.app.seen == [("GET", f"/{number}") for number in range(5)]


@pytest.mark.parametrize(
    "headers",
    [
        b"X: " + b"x" * 70_000 + b"\r\n\r\n",
        b"X: " + b"x" * 70_000,
        b"".join(b"X-%d: 1\r\n" % number for number in range(101)) + b"\r\n",
        b"".join(b"X: " + b"x" * 1000 + b"\r\n" for _ in range(70)) + b"\r\n",
    ],
    ids=["one large", "one large without end", "many", "many large"],
)
async def test_too_large_headers_are_refused(served: Served, headers: bytes) -> None:
    client = await served.connect()
    client.send(b"GET /x HTTP/1.1\r\nHost: h\r\n" + headers)
    assert (await client.rest()).startswith(b"HTTP/1.1 431 ")
    assert served.app.seen == []


async def test_a_too_long_address_is_refused(served: Served) -> None:
    client = await served.connect()
    client.send(b"GET /" + b"x" * 70_000 + b" HTTP/1.1\r\nHost: h\r\n\r\n")
    assert (await client.rest()).startswith(b"HTTP/1.1 431 ")


async def test_trailers_never_become_headers_and_are_bounded(served: Served) -> None:
    begin = b"POST /x HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n"
    client = await served.connect()
    client.send(begin + b"Authorization: forged\r\nHost: evil\r\n\r\n")
    _, told = await client.answer()
    assert json.loads(told)["names"] == ["host", "transfer-encoding"]
    client = await served.connect()
    client.send(begin + b"X: " + b"x" * 70_000 + b"\r\n\r\n")
    assert (await client.rest()).startswith(b"HTTP/1.1 431 ")


async def test_sixty_slow_clients_cost_the_others_nothing(serve: Any) -> None:
    served = await serve(WireLimits(first_byte=0.5, headers=1.0, body_grace=1.0))
    slow = [await served.connect() for _ in range(60)]
    heads = [b"", b"GET /slow HTTP/1.1\r\nHost: ", b"POST /slow HTTP/1.1\r\nHost: h\r\nContent-Length: 9\r\n\r\n"]
    for number, client in enumerate(slow):
        client.send(heads[number % 3])
    trickling = [asyncio.create_task(c.trickle(b"x" * 100 * (n % 3))) for n, c in enumerate(slow)]
    waits = []
    for _ in range(20):
        client = await served.connect()
        began = time.monotonic()
        client.send(GET)
        assert (await client.answer())[0] == 200
        waits.append(time.monotonic() - began)
        client.close()
    await asyncio.gather(*trickling)
    assert max(client.lasted for client in slow) < 1.0 + SLACK + 1
    assert sorted(waits)[18] < 0.5
    async with asyncio.timeout(5):
        while len(served.connections):
            await asyncio.sleep(0.05)
