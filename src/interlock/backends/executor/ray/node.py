"""The program of a node of Ray that is ours: a head that others join, or one that has joined a head.

    python -m interlock.backends.executor.ray.node PLAN          (``messages.NodePlan`` as JSON)

It says once on standard output what the node is (``NodeTold``) or why there is none (``NodeFailed``), and keeps it
until standard input ends. Ray's processes die with this one, and nothing else of Ray is touched.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
import traceback
from typing import Any

import msgspec
from ray._private.node import Node
from ray._private.parameter import RayParams

from interlock.backends.executor.ray.messages import NodeFailed, NodePlan, NodeTold, worker_of

_MIB = 1_048_576
_OBJECTS = 256 * _MIB
"""Bytes of a node's object store: what passes is small, or goes through it and is dropped."""
_TURN = 0.5
_FAREWELL = 6.0
"""Seconds for the processes of Ray to end by themselves."""


def open_node(plan: NodePlan) -> Node:
    """Start the node's processes. `ray start` does this, too, but takes no loopback address on Linux."""
    given: dict[str, Any] = {
        "node_ip_address": plan.address,
        "num_cpus": plan.cpus,
        "num_gpus": plan.gpus,
        "memory": None if plan.memory is None else plan.memory * _MIB,
        "object_store_memory": _OBJECTS,
        "temp_dir": plan.folder,
        "include_dashboard": False,
        "dashboard_agent_listen_port": None,
        "min_worker_port": 0,
        "max_worker_port": 0,
    }
    given |= {"gcs_address": plan.join} if plan.join else {"gcs_server_port": plan.port}
    return Node(RayParams(**given), head=not plan.join, shutdown_at_exit=False, spawn_reaper=True)


def told_of(node: Node) -> NodeTold:
    """What a node says it has."""
    has: Any = node.get_resource_and_label_spec()  # type: ignore[no-untyped-call]  # Ray says nothing of it
    return NodeTold(
        worker=worker_of(node.node_id),
        address=node.node_ip_address,
        cpu=float(has.num_cpus),
        memory=float(has.memory) / _MIB,
        gpus=int(has.num_gpus),
    )


def _watch_starter() -> threading.Event:
    """Set once whoever started us lets go of us, or is dead. Whatever Ray is stuck in then is broken off after a while.

    What of Ray was started dies with this process.
    """
    is_over = threading.Event()

    def watch() -> None:
        os.read(0, 1)
        is_over.set()
        time.sleep(_FAREWELL)
        os._exit(1)

    threading.Thread(target=watch, name="starter", daemon=True).start()
    return is_over


def _last_line(error: Exception) -> str:
    """What it comes down to; the rest is in the log."""
    traceback.print_exception(error)
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return (lines[-1] if lines else type(error).__name__)[:300]


def main() -> None:
    """Keep a node until standard input ends; 1 if it could not be started, or has died."""
    plan = msgspec.json.decode(sys.argv[1], type=NodePlan)
    is_over = _watch_starter()
    told = os.fdopen(os.dup(1), "wb", buffering=0)
    os.dup2(2, 1)  # what libraries print is no answer
    os.set_inheritable(told.fileno(), False)
    for number in (signal.SIGTERM, signal.SIGINT):  # meant for whoever started us, who ends us in their own time
        signal.signal(number, lambda *_: None)  # what is ignored, our children would ignore, too
    try:
        node = open_node(plan)
    except Exception as error:  # noqa: BLE001 - Ray may fail in any way; whoever started us is told
        told.write(msgspec.json.encode(NodeFailed(reason=_last_line(error))) + b"\n")
        os._exit(1)  # what of it has begun dies with us
    told.write(msgspec.json.encode(told_of(node)) + b"\n")
    while not is_over.wait(_TURN):
        if node.dead_processes():  # type: ignore[no-untyped-call]
            node.kill_all_processes(check_alive=False)
            os._exit(1)
    node.kill_all_processes(check_alive=False, allow_graceful=True)


if __name__ == "__main__":
    main()
