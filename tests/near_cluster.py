"""A cluster without Ray: hosts in the test's own process, and executors whose driver the test plays.

Everything is as on a cluster but for the driver: hosts run attempts in children of their own, and executors reach them
by the road that servers of the same machine take.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec

from conformance.executor_trial import KeptBlobs, Trial
from interlock.backends.executor.ray.executor import RayExecutor
from interlock.backends.executor.ray.host import Host
from interlock.backends.executor.ray.messages import Connected, FromServer, HostLost, HostPlan, HostReady, Node, Nodes
from interlock.nodes.testing import ScriptedEgress
from ray_house import ray_environment, until

OWN = "ray-own"
PLAN = HostPlan(
    registry="conformance.ray_probe:load", environment={"PYTHONPATH": ray_environment()["PYTHONPATH"]}, size=2
)


class PlayedDriver:
    """In the place of ``Driving``: whatever is said to it is kept, and it says what the test wants."""

    def __init__(self) -> None:
        self.is_wanted = False
        self.reason = ""
        self.heard: list[FromServer] = []

    def want(self) -> None:
        self.is_wanted = True

    def say(self, message: FromServer) -> None:
        self.heard.append(message)

    async def stop(self, grace: float) -> None:
        self.is_wanted = False


class Server:
    """An executor of one server of the installation, and what its driver could tell it."""

    def __init__(self, session: str, *, address: str = "near", **options: Any) -> None:
        egress, blobs = ScriptedEgress([]), KeptBlobs()
        told = {"house": "near", "version": "1", "folder": Path("/nowhere"), "environment": {}, **options}
        self.session = session
        self.executor = RayExecutor(PLAN, egress, blobs, session=session, address=address, **told)
        self.driver = PlayedDriver()
        self.executor._driving = self.driver  # type: ignore[assignment]
        self.executor._mail._through_driver = self.driver.say
        self.trial = Trial(self.executor, egress, blobs)

    def connect(self, *workers: str) -> None:
        """The cluster answers and has these nodes, of which the first is this server's own."""
        self.executor._hear(Connected(worker=workers[0]))
        self.executor._hear(Nodes(nodes=[Node(worker=each, address="", cpu=4, memory=0, gpus=0) for each in workers]))

    async def meet(self, host: Host, worker: str = OWN) -> None:
        """The host of a worker takes lines."""
        self.executor._hear(HostReady(worker=worker, way=await host.greet(self.session)))
        await until(lambda: self.executor.reaches(worker, "") or self.executor.takes_own(), "the host's welcome")

    def lose(self, worker: str = OWN, reason: str = "No module named 'interlock'") -> None:
        """The host of a worker died, or could not be opened."""
        self.executor._hear(HostLost(worker=worker, reason=reason))

    def crash(self) -> None:
        """As if the server had been killed: it says nothing any more, and its roads are cut."""
        self.executor._is_stopped = True
        self.executor._mail.forget_all()


@asynccontextmanager
async def near_host() -> AsyncIterator[Host]:
    """A host, as on the node of a cluster."""
    host = Host(msgspec.json.encode(PLAN), 2)
    yield host
    await host._stop_all()  # what ``leave`` does, but for the end of the process
    if host._watch is not None:
        host._watch.cancel()  # it ends the process that a host is once nobody talks to it any more
