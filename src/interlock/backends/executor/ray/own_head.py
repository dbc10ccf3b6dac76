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
        self._delay = _FIRST_DELAY

    def start(self) -> None:
        """Begin; nothing waits for it."""
        self._keeping = asyncio.create_task(self._keep(), name="ray head")

    async def stop(self, grace: float) -> None:
        """End it, within ``grace`` seconds."""
        if self._keeping is not None:
            self._keeping.cancel()
            await asyncio.gather(self._keeping, return_exceptions=True)
        await self._end_node(grace)

    async def _end_node(self, grace: float) -> None:
        node, self._node = self._node, None
        if node is not None:
            await node.stop(grace)

    async def _keep(self) -> None:
        while True:
            try:
                reason = await self._run_once()
            except OwnNodeError as error:
                reason = str(error)
            except Exception as error:  # noqa: BLE001 - whatever it is, others wait for a head, and the next may start
                reason = f"{type(error).__name__}: {error}"
            log.error("executor.ray_head_failed", reason=reason, again_in_seconds=self._delay)
            await asyncio.sleep(self._delay)
            self._delay = min(_LONGEST_DELAY, self._delay * 2)

    async def _run_once(self) -> str:
        """One node from its start to its end; why it ended."""
        await self._end_node(0.0)  # what one before may have left
        self._node = self._open_node()
        told = await self._node.start()
        log.info("executor.ray_head_started", worker=told.worker, address=told.address)
        self._delay = _FIRST_DELAY
        reason = await self._node.ended()
        await self._end_node(0.0)
        return reason
