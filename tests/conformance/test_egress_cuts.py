"""However an answer is framed, and wherever the network cuts it: what is read is what was sent."""

from __future__ import annotations

import asyncio

from hypothesis import given, settings
from hypothesis import strategies as st

from interlock.backends.egress.client import GuardedEgress

OK = b"HTTP/1.1 200 OK\r\nX-Told: a\r\nx-told: b\r\n"
EARLY = b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n"


def framed(parts: list[bytes], framing: str) -> bytes:
    body = b"".join(parts)
    if framing == "length":
        return OK + b"Content-Length: %d\r\n\r\n%b" % (len(body), body)
    if framing == "chunks":
        chunks = b"".join(b"%x;ext=1\r\n%b\r\n" % (len(part), part) for part in parts if part)
        return OK + b"Transfer-Encoding: chunked\r\n\r\n" + chunks + b"0\r\nTrailer: t\r\n\r\n"
    return OK + b"Connection: close\r\n\r\n" + body


def cut(message: bytes, places: list[int]) -> list[bytes]:
    ends = sorted({place % len(message) for place in places} | {len(message)})
    return [message[start:end] for start, end in zip([0, *ends], ends, strict=False)]


async def asked_twice(packets: list[bytes], *, closes: bool) -> tuple[list[tuple[str, bytes]], int]:
    """What two calls of a server that sends these packets read, and over how many connections."""
    connections = 0

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        try:
            while await reader.readuntil(b"\r\n\r\n"):
                for packet in packets:
                    writer.write(packet)
                    await asyncio.sleep(0)  # a turn, in which the packet arrives
                if closes:
                    break
        except asyncio.IncompleteReadError:
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(connected, "127.0.0.1", 0)
    egress, read = GuardedEgress(["loopback"]), []
    try:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
        for _ in range(2):
            async with egress.open("POST", url, headers={}, body=b"", timeout=5, idle=5) as answer:
                pieces = [piece async for piece in answer.pieces()]
                read.append((answer.headers["x-told"], b"".join(pieces)))
    finally:
        await egress.close()
        server.close()
    return read, connections


@settings(max_examples=60, deadline=None)
@given(
    parts=st.lists(st.binary(max_size=300), max_size=6),
    framing=st.sampled_from(["length", "chunks", "end"]),
    early=st.integers(0, 2),
    places=st.lists(st.integers(0, 5_000), max_size=12),
)
def test_what_is_read_is_what_was_sent(parts: list[bytes], framing: str, early: int, places: list[int]) -> None:
    packets = cut(EARLY * early + framed(parts, framing), places)
    closes = framing == "end"
    read, connections = asyncio.run(asked_twice(packets, closes=closes))
    assert read == [("a, b", b"".join(parts))] * 2
    assert connections == (2 if closes else 1)
