"""Interlock: workflows that outlive the processes they run in, watched live, with people asked on the way.

``interlock.task`` and ``interlock.Graph`` are for those who write tasks in Python; they belong to ``interlock.client``,
which is loaded when one of them is first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from interlock import client as client
    from interlock.client import Graph as Graph
    from interlock.client import task as task

__all__ = ["Graph", "client", "task"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import importlib  # noqa: PLC0415 - only who uses the client pays for it

    client = importlib.import_module("interlock.client")
    return client if name == "client" else getattr(client, name)
