"""Ports for servers that tests start, end and start again at the same place."""

from __future__ import annotations

import random
import socket

FIRST, LAST = 20_000, 30_000  # below those that systems give to whoever connects, above those of Ray's workers


def free_port() -> int:
    """A port of 127.0.0.1 that nobody has now, and that the system gives to nobody while its server is away.

    Raises AssertionError if a hundred ports were all taken. Another caller may choose the same one meanwhile, which is
    one case in ten thousand; who cannot have that tries again with another port.
    """
    for _ in range(100):
        port = random.randint(FIRST, LAST)
        if is_free(port):
            return port
    raise AssertionError("no port is free")


def is_free(port: int) -> bool:
    """Whether a server could listen on ``port`` of 127.0.0.1 now."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
            probe.listen()  # only this is refused if the other, too, may bind a port again
        except OSError:
            return False
        return True
