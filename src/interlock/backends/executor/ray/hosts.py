"""What a server knows of its cluster: the nodes, whose hosts take lines, and what the others are yet to be told."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from interlock.backends.executor.ray.errands import Errand, find_node
from interlock.backends.executor.ray.messages import Node


class Hosts:
    """``own`` is the worker that the server's own machine is; ``ready`` are those whose hosts take lines."""

    def __init__(self) -> None:
        self.nodes: Mapping[str, Node] = {}
        self.own = ""
        self.ready: list[str] = []
        self.why_not = ""
        self._shut: set[str] = set()  # nodes whose host could not be opened, or not again
        self._unsaid: dict[str, list[bytes]] = {}
        self._unsaid_anywhere: list[bytes] = []
        self._turn = 0

    @property
    def can_open(self) -> bool:
        """False once there are nodes, and none of them has a host or may still get one at the first try."""
        return not self.nodes or not self._shut.issuperset(self.nodes)

    @property
    def takes_own(self) -> bool:
        """Whether what was placed on the server's own machine would be sent on its way now."""
        return self.own in self.ready if self.own in self.nodes else bool(self.ready)

    @property
    def is_own_shut(self) -> bool:
        """Whether the host of the server's own machine could not be opened."""
        return self.own in self._shut

    def wanted(self, errand: Errand) -> str | None:
        """The ready worker that an attempt goes to; empty if it is to wait for one, None if it would wait in vain."""
        worker = errand.wants(self.nodes, self.own)
        if worker == "":
            return self._next() if self.ready else ""
        if worker in self.ready:
            return worker
        is_gone = worker is None and bool(self.ready)  # with no host at all the cluster is only coming up
        return None if is_gone or worker in self._shut else ""

    def _next(self) -> str:
        self._turn += 1
        return self.ready[self._turn % len(self.ready)]

    def reaches(self, worker_id: str, address: str) -> str:
        """The node that a worker is, if it takes attempts now and is not the server's own machine; else empty."""
        node = find_node(self.nodes, self.own, worker_id, address) or ""
        return node if node in self.ready else ""

    # What becomes of them ----------------------------------------------------------------------------------

    def see(self, nodes: Iterable[Node]) -> None:
        """These are all nodes now."""
        self.nodes = {node.worker: node for node in nodes}
        self._shut.intersection_update(self.nodes)
        anywhere, self._unsaid_anywhere = self._unsaid_anywhere, []
        for worker in self.nodes:
            if anywhere:
                self.say_later(worker, anywhere)
        for worker in [worker for worker in self._unsaid if worker not in self.nodes]:
            del self._unsaid[worker]

    def welcome(self, worker: str) -> list[bytes]:
        """The host of a worker takes lines; those that it is to get before all others."""
        self.ready.append(worker)
        self._shut.discard(worker)
        self.why_not = ""
        return self._unsaid.pop(worker, [])

    def lose(self, worker: str, reason: str) -> None:
        """A host died, or could not be opened: one that was ready is opened anew before it counts as shut."""
        self.why_not = f"the host of {worker} was lost: {reason}"
        if worker in self.ready:
            self.ready.remove(worker)
        else:
            self._shut.add(worker)

    def lose_all(self) -> None:
        """The cluster is out of reach; what was to be said is still to be said."""
        self.ready.clear()
        self._shut.clear()
        self.nodes = {}

    # What is to be said ------------------------------------------------------------------------------------

    def say_later(self, worker: str, lines: Iterable[bytes]) -> None:
        """Keep lines for a host that is not ready, as long as its node is there."""
        self._unsaid.setdefault(worker, []).extend(lines)

    def say_anywhere_later(self, lines: Iterable[bytes]) -> None:
        """Keep lines for the hosts of all nodes, which are not known yet."""
        self._unsaid_anywhere.extend(lines)
