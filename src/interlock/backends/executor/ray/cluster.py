"""The driver's side of Ray: connect to a cluster or start one, see its nodes, open hosts. Imports Ray."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import msgspec
import ray
from ray.exceptions import ActorUnavailableError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from interlock.backends.executor.ray.host import Host
from interlock.backends.executor.ray.messages import Node, Plan, Way, worker_of

_MIB = 1_048_576
_OBJECTS = 256 * _MIB
"""Bytes of a local Ray's object store: what passes is small, or goes through it and is dropped."""
_OPENING = 60.0
"""Seconds for a host to start on its node."""
_AWAY = 15.0
"""Seconds that a host may be out of reach before it counts as lost."""
_AT_ONCE = 1000
"""Calls that a host takes at a time; nearly all of them wait for something to give."""


def connect(plan: Plan) -> str:
    """Connect to the cluster, or start one; the worker that this machine is. Blocks; raises whatever Ray raises."""
    shared: dict[str, Any] = {
        "namespace": f"interlock-{plan.house}",
        "log_to_driver": False,
        "logging_level": "warning",
    }
    if plan.address:
        ray.init(plan.address, **shared)
    elif plan.local is not None:
        ray.init(
            "local",
            num_cpus=plan.local.cpus,
            include_dashboard=False,
            object_store_memory=_OBJECTS,
            _temp_dir=plan.local.folder,
            **shared,
        )
    return worker_of(ray.get_runtime_context().get_node_id())


def disconnect() -> None:
    """Leave the cluster; one that was started here ends."""
    ray.shutdown()


def list_nodes() -> dict[str, Node]:
    """The nodes there are, by Ray's ids. Blocks until the head answers."""
    found: list[dict[str, Any]] = ray.nodes()  # type: ignore[no-untyped-call]  # Ray says nothing of it
    return {node["NodeID"]: _read(node) for node in found if node["Alive"]}


def _read(node: dict[str, Any]) -> Node:
    has = node["Resources"]
    return Node(
        worker=worker_of(node["NodeID"]),
        address=node["NodeManagerAddress"],
        cpu=has.get("CPU", 0.0),
        memory=has.get("memory", 0.0) / _MIB,
        gpus=int(has.get("GPU", 0)),
    )


def _last_line(error: Exception) -> str:
    """What it comes down to: the errors of Ray are tracebacks of other machines, or long advice."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1][:300] if lines else ""


class HostLine:
    """A host as its driver sees it: lines go there in batches, and come back in batches."""

    def __init__(
        self,
        plan: Plan,
        node_id: str,
        node: Node,
        *,
        on_ready: Callable[[str, Way | None], None],
        on_lines: Callable[[str, list[bytes]], Any],
    ) -> None:
        self._plan = plan
        self._node_id = node_id
        self._node = node
        self._on_ready = on_ready
        self._on_lines = on_lines
        self._actor: Any = None
        self._lines: list[bytes] = []
        self._more = asyncio.Event()

    def send(self, lines: list[bytes]) -> None:
        """Send lines with the next calls."""
        self._lines += lines
        self._more.set()

    async def live(self) -> str:
        """Open the host and serve it until it is lost; why it was."""
        try:
            async with asyncio.timeout(_OPENING):
                self._actor = await asyncio.to_thread(self._open)
                way = await self._call("greet")
            self._on_ready(self._node.worker, way)
            await self._serve()
        except Exception as error:  # noqa: BLE001 - whatever it is, the host is lost, and its server must hear of it
            return f"{type(error).__name__}: {_last_line(error)}"
        return "it ended"

    async def _serve(self) -> None:
        tasks = [asyncio.create_task(each) for each in (self._give_on(), self._bring_back())]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            done.pop().result()
        finally:
            for task in tasks:
                task.cancel()

    async def leave(self) -> None:
        """Have the host end what it runs for this server."""
        if self._actor is not None:
            await self._actor.leave.remote(self._plan.session)

    def _open(self) -> Any:
        """The host of the node: the one that is there already, or a new one."""
        return (
            ray.remote(Host)
            .options(
                name=f"host-{self._plan.version}-{self._node.worker}",
                get_if_exists=True,
                lifetime="detached",  # it outlives its server for a while, and ends by itself
                num_cpus=0,
                max_restarts=0,
                max_task_retries=0,
                max_concurrency=_AT_ONCE,
                scheduling_strategy=NodeAffinitySchedulingStrategy(self._node_id, soft=False),
            )
            .remote(msgspec.json.encode(self._plan.host), int(self._node.cpu))
        )

    async def _give_on(self) -> None:
        most = self._plan.call_lines
        while True:
            if not self._lines:
                self._more.clear()
                await self._more.wait()
            lines, self._lines = self._lines[:most], self._lines[most:]
            await self._call("take", lines)

    async def _bring_back(self) -> None:
        confirmed = 0
        while True:
            number, lines = await self._call("give", confirmed, self._plan.call_lines)
            if lines:
                confirmed = number
                await self._on_lines(self._node.worker, lines)

    async def _call(self, method: str, *given: Any) -> Any:
        """A call, made again while the host is out of reach; it can be taken twice. Raises what Ray raises."""
        end = asyncio.get_running_loop().time() + _AWAY
        while True:
            try:
                return await getattr(self._actor, method).remote(self._plan.session, *given)
            except ActorUnavailableError:
                if asyncio.get_running_loop().time() > end:
                    raise
                await asyncio.sleep(0.2)
