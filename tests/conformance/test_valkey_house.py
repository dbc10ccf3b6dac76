"""The Valkey of tests starts though others choose ports at the same time."""

from __future__ import annotations

import socket
from contextlib import ExitStack
from itertools import chain, repeat

import pytest

import valkey_house
from free_ports import free_port, is_free


def test_a_port_that_somebody_took_meanwhile_is_not_insisted_on(monkeypatch: pytest.MonkeyPatch) -> None:
    with ExitStack() as stack, socket.create_server(("127.0.0.1", 0)) as other:
        taken = other.getsockname()[1]
        assert not is_free(taken)
        ports = chain([taken], repeat(free := free_port()))
        monkeypatch.setattr(valkey_house, "free_port", lambda: next(ports))
        assert valkey_house.start_valkey(stack).port == free


def test_a_port_that_was_asked_for_is_had_or_the_start_fails() -> None:
    with ExitStack() as stack, socket.create_server(("127.0.0.1", 0)) as other, pytest.raises(OSError, match="in use"):
        valkey_house.start_valkey(stack, port=other.getsockname()[1])
