"""What is run: the workloads, the two workflow definitions Interlock gets, and how many executions fit a round."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

from benchmarks.drive import Shape

CHAIN_STEPS = 10
FAN_STEPS = 1_000


@dataclass(frozen=True)
class Load:
    """One workload at one concurrency. `steps` is how many durable steps one execution makes."""

    workload: str
    drivers: int
    steps: int

    @property
    def key(self) -> str:
        """Its name on the command line and in the results, such as W1-c50."""
        return f"{self.workload}-c{self.drivers}"


LOADS = (
    Load("W1", 1, CHAIN_STEPS),
    Load("W1", 50, CHAIN_STEPS),
    Load("W1", 500, CHAIN_STEPS),
    Load("W2", 1, FAN_STEPS + 1),
)

# Executions and seconds a run may take, per system: about the same time for each, bounded by whichever comes first.
# DBOS at 500 drivers needs some 25 s for its 500, whatever the bound: each has started before the first has ended.
_SHAPES: dict[str, dict[str, Shape]] = {
    "interlock": {
        "W1-c1": Shape(drivers=1, executions=300, warm=30, seconds=5),
        "W1-c50": Shape(drivers=50, executions=8_000, warm=400, seconds=5),
        "W1-c500": Shape(drivers=500, executions=12_000, warm=1_000, seconds=6),
        "W2-c1": Shape(drivers=1, executions=10, warm=2, seconds=4),
    },
    "dbos": {
        "W1-c1": Shape(drivers=1, executions=30, warm=5, seconds=5),
        "W1-c50": Shape(drivers=50, executions=200, warm=10, seconds=12),
        "W1-c500": Shape(drivers=500, executions=500, warm=10, seconds=25),
        "W2-c1": Shape(drivers=1, executions=2, warm=0, seconds=12),
    },
    "restate": {
        "W1-c1": Shape(drivers=1, executions=80, warm=10, seconds=5),
        "W1-c50": Shape(drivers=50, executions=800, warm=50, seconds=6),
        "W1-c500": Shape(drivers=500, executions=1_500, warm=100, seconds=8),
        "W2-c1": Shape(drivers=1, executions=3, warm=1, seconds=6),
    },
}


def shape_of(system: str, load: Load, quick: bool) -> Shape:
    """How much of `load` the system runs in one round; `quick` is a third of it."""
    full = _SHAPES[system][load.key]
    if not quick:
        return full
    return Shape(full.drivers, max(full.drivers, full.executions // 3), full.warm // 2, full.seconds / 3)


def _in_a_row(ids: list[str]) -> list[dict[str, str]]:
    return [{"from_node": first, "to_node": second} for first, second in pairwise(ids)]


def chain_definition() -> dict[str, object]:
    """W1: ten transforms in a row; each adds one to `v` and names its own place `i`."""
    nodes = [
        {
            "id": f"n{i}",
            "name": f"n{i}",
            "type": "transform",
            "parameters": {"mapping": {"i": i, "v": "{{ $json.v + 1 }}"}},
        }
        for i in range(CHAIN_STEPS)
    ]
    return {"name": "bench-chain", "nodes": nodes, "connections": _in_a_row([f"n{i}" for i in range(CHAIN_STEPS)])}


def fan_definition() -> dict[str, object]:
    """W2: one `map` over the items of the input, a recorded step each, then a node that joins their results."""
    nodes = [
        {
            "id": "fan",
            "name": "fan",
            "type": "map",
            "parameters": {"items": "{{ $trigger.items }}", "concurrency": FAN_STEPS},
        },
        {
            "id": "step",
            "name": "step",
            "type": "transform",
            "parameters": {"mapping": {"i": "{{ $loop.index }}", "v": "{{ $json + 1 }}"}},
        },
        {
            "id": "join",
            "name": "join",
            "type": "transform",
            "parameters": {"mapping": {"count": "{{ len($json) }}", "last": "{{ $json[-1].v }}"}},
        },
    ]
    connections = [
        {"from_node": "fan", "to_node": "step", "output_key": "iteration"},
        {"from_node": "fan", "to_node": "join", "output_key": "completed"},
    ]
    settings = {"max_parallel": FAN_STEPS}
    return {"name": "bench-fan", "nodes": nodes, "connections": connections, "settings": settings}


@dataclass(frozen=True)
class Graph:
    """A workflow for Interlock: its definition, what a start sends, and what the answer must hold."""

    definition: dict[str, object]
    start: dict[str, object]
    expected: dict[str, object]


GRAPHS = {
    "W1": Graph(
        definition=chain_definition(),
        start={"inputs": {"v": 1}, "wait_ms": 30_000},
        expected={"status": "SUCCESS", "result": {"i": CHAIN_STEPS - 1, "v": CHAIN_STEPS + 1}},
    ),
    "W2": Graph(
        definition=fan_definition(),
        start={"inputs": {"items": list(range(FAN_STEPS))}, "wait_ms": 30_000},
        expected={"status": "SUCCESS", "result": {"count": FAN_STEPS, "last": FAN_STEPS}},
    ),
}
