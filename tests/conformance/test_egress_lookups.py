"""Host names that hang hold up look-ups of whoever asked for them, and of nobody else."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from interlock.backends.egress import connect
from interlock.backends.egress.address import AddressPolicy
from interlock.backends.executor.circuits import CircuitEgress, Circuits
from interlock.core.errors import InterlockError
from interlock.ports.egress import ASKER, EgressResponse

ANSWER = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", 80))]


class Names:
    """A resolver of the system that never answers for names that begin with "slow"."""

    def __init__(self) -> None:
        self.wake = threading.Event()
        self.asked = 0

    def look_up(self, host: str, *_: Any) -> Any:
        if host.startswith("slow"):
            self.asked += 1
            self.wake.wait(30)
        return ANSWER


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> Iterator[Names]:
    found = Names()
    monkeypatch.setattr(socket, "getaddrinfo", found.look_up)
    yield found
    found.wake.set()


async def resolve(resolver: connect.CheckedResolver, tenant_id: str, host: str) -> Any:
    ASKER.set(tenant_id)
    return await resolver.resolve(host, 80)


async def test_a_tenant_whose_names_hang_holds_up_no_other(names: Names) -> None:
    """J2."""
    resolver = connect.CheckedResolver(AddressPolicy(["loopback"]))
    hanging = [asyncio.create_task(resolve(resolver, "a", f"slow{number}")) for number in range(40)]
    async with asyncio.timeout(4):
        for asker in ("b", "", "c"):
            found = await asyncio.create_task(resolve(resolver, asker, "quick.example"))
            assert found[0][1][0] == "127.0.0.1"
    for task in hanging:
        task.cancel()
    await asyncio.gather(*hanging, return_exceptions=True)
    assert names.asked <= 4
    names.wake.set()
    async with asyncio.timeout(4):
        assert await asyncio.create_task(resolve(resolver, "a", "quick.example")), "its turns come back"
    resolver.close()


async def test_who_gets_no_turn_is_told_why(names: Names, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connect, "_LOOKUP_SECONDS", 0.2)
    resolver = connect.CheckedResolver(AddressPolicy(["loopback"]))
    tasks = [asyncio.create_task(resolve(resolver, "a", f"slow{number}")) for number in range(6)]
    errors = await asyncio.gather(*tasks, return_exceptions=True)
    assert all(isinstance(error, InterlockError) and error.retryable for error in errors)
    with pytest.raises(InterlockError, match=r"'quick.example' could not be resolved.* 4 look-ups of this tenant's"):
        await asyncio.create_task(resolve(resolver, "a", "quick.example"))
    resolver.close()


async def test_a_node_calls_for_its_tenant() -> None:
    askers: list[str] = []

    class Watching:
        async def request(self, *_: Any, **__: Any) -> EgressResponse:
            askers.append(ASKER.get())
            return EgressResponse(200, {}, b"", False)

    egress = CircuitEgress(Watching(), Circuits(), "tenant-a")
    await egress.request("GET", "http://x.example", headers={}, body=None, timeout=1, max_bytes=1)
    assert (askers, ASKER.get()) == (["tenant-a"], "")
