"""A head of Ray that is ours and that other machines can join: started with its server, kept, ended with it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from interlock.backends.executor.logs import log
from interlock.backends.executor.ray.own_node import OwnNode, OwnNodeError

_FIRST_DELAY = 1.0
_LONGEST_DELAY = 30.0


class OwnHead:
    """Keeps the node that ``open_node`` makes, anew each time: a head that has died is started again."""

    def __init__(self, open_node: Callable[[], OwnNode]) -> None:
        self._open_node = open_node
        self._keeping: asyncio.Task[None] | None = None
        self._node: OwnNode | None = None

    def start(self) -> None:
        """Begin; nothing waits for it."""
        self._keeping = asyncio.create_task(self._keep(), name="ray head")

    async def stop(self, grace: float) -> None:
        """End it, within ``grace`` seconds."""
        if self._keeping is not None:
            self._keeping.cancel()
            await asyncio.gather(self._keeping, return_exceptions=True)
        if self._node is not None:
            await self._node.stop(grace)

    async def _keep(self) -> None:
        delay = _FIRST_DELAY
        while True:
            node = self._open_node()
            try:
                told = await node.start()
            except OwnNodeError as error:
                reason = str(error)
            else:
                self._node = node
                log.info("executor.ray_head_started", worker=told.worker, address=told.address)
                delay = _FIRST_DELAY
                reason = await node.ended()
                self._node = None
                await node.stop(0.0)
            log.error("executor.ray_head_failed", reason=reason, again_in_seconds=delay)
            await asyncio.sleep(delay)
            delay = min(_LONGEST_DELAY, delay * 2)
