"""The client library: Python functions as tasks of a server, graphs of them, and what comes of their runs.

It imports nothing of the server and needs nothing but Python's standard library; with ``cloudpickle`` installed it can
also send functions that use what stands around them. ``docs/how-to/write-tasks-in-python.md`` shows how it is used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from interlock.client.asynchronous import AsyncClient as AsyncClient
    from interlock.client.asynchronous import AsyncRun as AsyncRun
    from interlock.client.blocking import Client as Client
    from interlock.client.blocking import Run as Run
    from interlock.client.errors import ConnectionLost as ConnectionLost
    from interlock.client.errors import InterlockClientError as InterlockClientError
    from interlock.client.errors import NotSendable as NotSendable
    from interlock.client.errors import Refused as Refused
    from interlock.client.errors import RunCancelled as RunCancelled
    from interlock.client.errors import RunFailed as RunFailed
    from interlock.client.errors import TaskFailed as TaskFailed
    from interlock.client.frames import Frame as Frame
    from interlock.client.graph import Graph as Graph
    from interlock.client.graph import Node as Node
    from interlock.client.graph import Output as Output
    from interlock.client.outcome import Results as Results
    from interlock.client.tasks import Batch as Batch
    from interlock.client.tasks import Retry as Retry
    from interlock.client.tasks import Task as Task
    from interlock.client.tasks import task as task

_HOMES = {
    "asynchronous": ("AsyncClient", "AsyncRun"),
    "blocking": ("Client", "Run"),
    "errors": (
        "ConnectionLost",
        "InterlockClientError",
        "NotSendable",
        "Refused",
        "RunCancelled",
        "RunFailed",
        "TaskFailed",
    ),
    "frames": ("Frame",),
    "graph": ("Graph", "Node", "Output"),
    "outcome": ("Results",),
    "tasks": ("Batch", "Retry", "Task", "task"),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}

__all__ = sorted(_HOME_OF)  # noqa: PLE0605 - one list of names is enough


def __getattr__(name: str) -> Any:
    if name not in _HOME_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME_OF[name]}"), name)
