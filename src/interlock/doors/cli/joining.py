"""A machine that works for a head: it joins, says that it lives, and leaves when it is told to."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Awaitable, Callable
from typing import Any

from interlock.core.errors import ErrorKind, InterlockError
from interlock.doors.cli.failures import DONE, WrongUseError
from interlock.doors.cli.output import Output
from interlock.doors.cli.programs import JoinedNode
from interlock.doors.cli.server import Server

Join = Callable[[int], Awaitable[JoinedNode]]
"""Makes a node that joins the Ray whose head listens on that port of the head's machine."""

_BEAT = 5.0
"""Seconds between two signs of life; a worker without any for 30 s is lost."""
_LOOK = 0.5
"""Seconds between two questions whether the worker is ready, or empty."""
_FIRST_DELAY = 1.0
_LONGEST_DELAY = 15.0
STOP_SECONDS = 8.0
"""Seconds for the processes of Ray to end."""
_PASSES = frozenset({ErrorKind.UNAVAILABLE, ErrorKind.TIMEOUT, ErrorKind.LIMITED, ErrorKind.EXTERNAL})


class Joining:
    """Works for one head until ``stop`` is called; ``grace`` is how long tasks may run on then, in seconds."""

    def __init__(self, head: Server, join: Join, output: Output, grace: float) -> None:
        self._head = head
        self._join = join
        self._output = output
        self._grace = grace
        self._stopping = asyncio.Event()
        self._broken_off = asyncio.Event()

    def stop(self) -> None:
        """Leave; a second call breaks off the wait for tasks."""
        (self._broken_off if self._stopping.is_set() else self._stopping).set()

    async def run(self) -> int:
        """The exit code. Raises what no patience mends: a head without Ray, a credential that it does not take."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self.stop)
        delay = _FIRST_DELAY
        while not self._stopping.is_set():
            try:
                node = await self._unless_stopped(self._open())
            except InterlockError as error:
                if error.kind not in _PASSES:
                    raise
                self._say("waiting", f"{error.message}; trying again in {delay:g} s.", reason=error.message)
                await self._pause(delay)
                delay = min(_LONGEST_DELAY, delay * 2)
                continue
            if node is not None:
                delay = _FIRST_DELAY
                await self._work(node)
        self._say("left", "This machine has left.")
        return DONE

    async def _open(self) -> JoinedNode:
        told = await self._head.post("/get_head_ray_port")
        if told.get("executor") != "ray":
            raise WrongUseError(
                f"The head at {self._head.url} does not run tasks on Ray (its executor is {told.get('executor')!r}).",
                step="Start it with `interlock start --head --executor ray`.",
            )
        self._say("joining", f"Joining the Ray of {self._head.url}, port {told['port']} …", port=told["port"])
        return await self._join(int(told["port"]))

    async def _work(self, node: JoinedNode) -> None:
        """Be a worker until the node dies or this machine is to leave."""
        self._say("joined", f"Joined as {node.worker_id} ({_amounts(node)}).", **_described(node))
        ended = asyncio.create_task(node.ended())
        living = asyncio.create_task(self._live(node))
        stopping = asyncio.create_task(self._stopping.wait())
        try:
            await asyncio.wait({ended, living, stopping}, return_when=asyncio.FIRST_COMPLETED)
            if ended.done():
                self._say("lost", f"The node has ended: {ended.result()}.", reason=ended.result())
            elif living.done():
                living.result()  # what the head refuses for good
            else:
                await self._drain(node)
        finally:
            for task in (ended, living, stopping):
                task.cancel()
            await node.stop(STOP_SECONDS)

    async def _live(self, node: JoinedNode) -> None:
        """Say again and again that the worker is there, and tell the person when it is ready."""
        state = ""
        while True:
            try:
                now = await self._beat(node)
            except InterlockError as error:
                if error.kind not in _PASSES:
                    raise
                now = "away"
            if now != state:
                self._say(now, _STATES.get(now, f"It is {now}."), worker=node.worker_id)
                state = now
            await asyncio.sleep(_BEAT if now != "pending" else _LOOK)

    async def _beat(self, node: JoinedNode) -> str:
        """The worker's state. One that somebody empties stays so: announced as if it were new it would fill again."""
        return str((await self._head.post("/connect_worker", _announced(node)))["state"])

    async def _drain(self, node: JoinedNode) -> None:
        """Get nothing new, and wait for what runs, as long as it may."""
        self._say("draining", f"Leaving: tasks that run here have {self._grace:g} s to end.", worker=node.worker_id)
        body = {"node_id": node.worker_id, "grace_seconds": self._grace}
        try:
            async with asyncio.timeout(self._grace + _LOOK):
                while (await self._head.post("/disconnect_worker", body))["running"]:
                    if await self._is_broken_off():
                        break
        except TimeoutError:
            self._say("cut", "What still runs here is run elsewhere.", worker=node.worker_id)
        except InterlockError as error:
            self._say("away", f"The head was not told: {error.message}", reason=error.message)

    async def _is_broken_off(self) -> bool:
        try:
            await asyncio.wait_for(self._broken_off.wait(), _LOOK)
        except TimeoutError:
            return False
        return True

    async def _unless_stopped(self, work: Awaitable[JoinedNode]) -> JoinedNode | None:
        """What the work gives; None if this machine is to leave before."""
        doing, stopping = asyncio.ensure_future(work), asyncio.create_task(self._stopping.wait())
        try:
            await asyncio.wait({doing, stopping}, return_when=asyncio.FIRST_COMPLETED)
            return doing.result() if doing.done() else None
        finally:
            stopping.cancel()
            if not doing.done():
                doing.cancel()
                await asyncio.gather(doing, return_exceptions=True)

    async def _pause(self, seconds: float) -> None:
        waiting = asyncio.create_task(self._stopping.wait())
        await asyncio.wait({waiting}, timeout=seconds)
        waiting.cancel()

    def _say(self, event: str, text: str, **fields: Any) -> None:
        self._output.json({"event": event, **fields})
        self._output.line(text)


_STATES = {
    "ready": "Ready: tasks can run here.",
    "pending": "Announced; waiting until the head has seen the node …",
    "draining": "Somebody empties this worker: it gets nothing new.",
    "away": "The head does not answer; it is asked again.",
}


def _announced(node: JoinedNode) -> dict[str, Any]:
    gpus = {str(number): {"gpu_id": number, "gpu_mem": 0, "gpu_num": 1} for number in range(node.gpus)}
    resources = {"cpu": node.cpu, "cpu_mem": node.memory, "gpu_resource": gpus}
    return {"node_id": node.worker_id, "node_ip": node.address, "resources": resources, "refresh": True}


def _described(node: JoinedNode) -> dict[str, Any]:
    described = {"worker": node.worker_id, "address": node.address, "cpu": node.cpu}
    return {**described, "memory": node.memory, "gpus": node.gpus}


def _amounts(node: JoinedNode) -> str:
    return f"{node.cpu:g} cores, {node.memory:.0f} MiB, {node.gpus} GPUs at {node.address}"
