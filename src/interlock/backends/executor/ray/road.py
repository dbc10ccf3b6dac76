"""A straight way between a server and a host on the same machine: a socket of the kernel's own, beside Ray.

A call to an actor costs a millisecond on both sides, whatever it carries; this costs a tenth of that. Ray still opens
the host, says where it is and that it is alive; when the road breaks, lines go by calls again.
"""

from __future__ import annotations

import asyncio
import hmac
import os
import secrets
import socket
import struct
import sys
from collections.abc import Callable
from typing import TypeAlias, cast

import msgspec

from interlock.backends.executor.frames import Frames, FrameTooLarge
from interlock.backends.executor.logs import log
from interlock.backends.executor.ray.messages import Way, frame

MAX_FRAME = 1 << 30
"""Bytes of one message: a thousand lines, or one large value."""
_KNOCKING = 1.0
"""Seconds to say who one is."""
_WAITING = 16
"""Servers that may knock at the same moment."""


class Enter(msgspec.Struct, frozen=True, tag="enter"):
    """The first thing that a server says."""

    session: str
    key: bytes


class Lines(msgspec.Struct, frozen=True, tag="lines"):
    """Lines for the other side. ``number`` is that of the last line, or, from a server, of the last one it has read."""

    number: int
    lines: list[bytes]


Said: TypeAlias = Enter | Lines
_reader: msgspec.msgpack.Decoder[Said] = msgspec.msgpack.Decoder(Said)


class RoadEnd(asyncio.Protocol):
    """One end of a road. ``on_said`` hears what comes, ``on_cut`` once that nothing comes any more."""

    def __init__(self, on_said: Callable[[RoadEnd, Said], None], on_cut: Callable[[RoadEnd], None]) -> None:
        self._on_said = on_said
        self._on_cut = on_cut
        self._frames = Frames(MAX_FRAME)
        self._transport: asyncio.Transport | None = None
        self.is_full = False
        """Whether the other side does not take what is said; wait for ``on_room``."""
        self.on_room: Callable[[], None] = lambda: None

    @property
    def is_open(self) -> bool:
        """Whether what is said may arrive."""
        return self._transport is not None and not self._transport.is_closing()

    def say(self, message: Said) -> None:
        """Send a message; one on a road that is cut is lost."""
        if self._transport is not None:
            self._transport.write(frame(message))

    def close(self) -> None:
        """Cut the road, once what was said is out."""
        if self._transport is not None:
            self._transport.close()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Turn away whoever is not of this user."""
        self._transport = cast("asyncio.Transport", transport)
        if _user_of(self._transport.get_extra_info("socket")) != os.getuid():
            self._transport.abort()

    def data_received(self, data: bytes) -> None:
        """Read the messages that are whole."""
        self._frames.feed(data)
        try:
            while (body := self._frames.take()) is not None:
                self._on_said(self, _reader.decode(body))
        except (FrameTooLarge, msgspec.MsgspecError) as error:
            log.error("executor.ray_road_nonsense", error=str(error))
            self.close()

    def pause_writing(self) -> None:
        """Asked by the transport."""
        self.is_full = True

    def resume_writing(self) -> None:
        """Asked by the transport."""
        self.is_full = False
        self.on_room()

    def connection_lost(self, exc: Exception | None) -> None:
        """The road is cut."""
        self._transport = None
        self._on_cut(self)


class Gate:
    """Where servers of this machine come in. ``on_enter`` hears who did, once the key was right."""

    def __init__(
        self,
        on_enter: Callable[[str, RoadEnd], None],
        on_lines: Callable[[RoadEnd, Lines], None],
        on_cut: Callable[[RoadEnd], None],
    ) -> None:
        self._on_enter = on_enter
        self._on_lines = on_lines
        self._on_cut = on_cut
        self._inside: set[RoadEnd] = set()
        self._server: asyncio.Server | None = None
        self._way: Way | None = None

    async def open(self) -> Way | None:
        """Listen, unless that was done before; None where there are no such sockets."""
        if self._way is None and sys.platform == "linux":
            way = Way(name=f"interlock-{secrets.token_hex(16)}", key=secrets.token_bytes(32))
            listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            listener.bind(f"\0{way.name}")  # a name without a file, so that none is left over
            loop = asyncio.get_running_loop()
            self._server = await loop.create_unix_server(self._knock, sock=listener, backlog=_WAITING)
            self._way = way
        return self._way

    def close(self) -> None:
        """Nobody comes in any more, and who is inside is sent away."""
        if self._server is not None:
            self._server.close()
        for road in self._inside:
            road.close()

    def _knock(self) -> RoadEnd:
        road = RoadEnd(self._hear, self._leave)
        asyncio.get_running_loop().call_later(_KNOCKING, self._turn_away, road)
        return road

    def _turn_away(self, road: RoadEnd) -> None:
        if road not in self._inside:
            road.close()

    def _hear(self, road: RoadEnd, said: Said) -> None:
        if road in self._inside and isinstance(said, Lines):
            self._on_lines(road, said)
        elif isinstance(said, Enter) and self._way is not None and hmac.compare_digest(said.key, self._way.key):
            self._inside.add(road)
            self._on_enter(said.session, road)
        else:
            road.close()

    def _leave(self, road: RoadEnd) -> None:
        if road in self._inside:
            self._inside.discard(road)
            self._on_cut(road)


async def take_road(
    way: Way, session: str, on_said: Callable[[RoadEnd, Said], None], on_cut: Callable[[RoadEnd], None]
) -> RoadEnd | None:
    """The road to a host, if it is on this machine and of this user."""
    channel = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    try:
        channel.connect(f"\0{way.name}")  # at once or never
    except OSError:
        channel.close()
        return None
    loop = asyncio.get_running_loop()
    try:
        _, road = await loop.create_unix_connection(lambda: RoadEnd(on_said, on_cut), sock=channel)
    except OSError:  # it was cut in this moment
        channel.close()
        return None
    if not road.is_open:
        return None  # the other side is of another user
    road.say(Enter(session, way.key))
    return road


def _user_of(channel: socket.socket) -> int:
    """The user at the other end of a socket, as the kernel says."""
    _, user, _ = struct.unpack("3i", channel.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i")))
    return int(user)
