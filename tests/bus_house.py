"""What the tests of buses share."""

from __future__ import annotations

from contextlib import AsyncExitStack
from typing import Any
from uuid import UUID

from interlock.backends.bus.memory import MemoryBus
from interlock.kit.ids import RandomIds

TENANT = "a tenant"
SOON = 5.0  # a deadline, reached only when something is wrong


def new_id() -> UUID:
    return RandomIds().new()


async def start_bus(stack: AsyncExitStack, bus: Any) -> Any:
    """A bus that believes it has peers, stopped with ``stack``."""
    await bus.start()
    stack.push_async_callback(bus.stop)
    bus.set_peers(True)
    if not isinstance(bus, MemoryBus):
        bus._outbox.forget()  # nobody needs to look: nothing was missed yet
    return bus
