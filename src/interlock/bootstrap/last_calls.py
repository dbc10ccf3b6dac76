"""How a listening address is given up without breaking off anybody who has just come.

A listening socket that is closed resets the connections that wait in it. So the system is first told to drop what asks
for new ones; those that wait are taken meanwhile. Who was dropped asks again after a second, as after any lost packet,
and comes to another process on the port, or is refused because there is none.
"""

from __future__ import annotations

import ctypes
import socket
import struct

import structlog

_ATTACH_FILTER = getattr(socket, "SO_ATTACH_FILTER", 26)
_KEEP_NOTHING = struct.pack("HBBI", 0x06, 0, 0, 0)
"""A program of the classic packet filter: return 0, the number of bytes to keep."""

log = structlog.get_logger("bootstrap")


def take_no_more(listener: socket.socket) -> None:
    """Have the system drop whatever asks for a new connection. Never raises; where it cannot, all stays as it was."""
    program = ctypes.create_string_buffer(_KEEP_NOTHING, len(_KEEP_NOTHING))
    try:
        listener.setsockopt(socket.SOL_SOCKET, _ATTACH_FILTER, struct.pack("HP", 1, ctypes.addressof(program)))
    except OSError as error:
        log.debug("port.not_quiet", reason=str(error))
