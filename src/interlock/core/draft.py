"""Drafts: task graphs while they are built by calls, and what may be said of their tasks."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from typing import Any, Literal
from uuid import UUID

import msgspec

from interlock.core.code import Form
from interlock.core.errors import InterlockError, rule_broken
from interlock.core.resources import Resources

MAX_TASKS = 5_000
MAX_EDGES = 20_000

TaskKind = Literal["code", "langgraph"]
EdgeKind = Literal["drawn", "implied", "read"]
"""``drawn`` by a call of its own, ``implied`` by a reference; ``read``: the target reads what the source gives."""

_RESOURCES = {"cpu": "cpu", "cpu_mem": "memory", "gpu": "gpu", "gpu_mem": "gpu_memory"}
RESOURCE_WORDS = {name: word for word, name in _RESOURCES.items()}
"""What the lattice family calls each kind of resource."""


class TaskInput(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One argument: a value, or with ``source`` what that task gives under ``source_key``."""

    key: str
    data_type: str = ""
    value: Any = None
    source: str = ""
    source_key: str = ""


class TaskOutput(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What its author says it gives; shown, never enforced."""

    key: str
    data_type: str = ""


class Batching(msgspec.Struct, frozen=True, kw_only=True):
    """Up to ``size`` tasks that are alike may be one call; ``timeout`` is how many seconds the first one waits."""

    size: int = 32
    timeout: float = 0.1


class Retrying(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Attempts in all; the wait between two of them begins with ``backoff`` seconds and doubles."""

    max_attempts: int = 1
    backoff: float = 1.0
    max_backoff: float = 60.0


class SavedTask(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a task does: code by its digest, and how it is called. ``timeout`` is seconds for each attempt."""

    code: str
    form: Form
    inputs: tuple[TaskInput, ...] = ()
    outputs: tuple[TaskOutput, ...] = ()
    resources: Resources = Resources()
    batching: Batching | None = None
    timeout: float = 3600.0
    retry: Retrying = Retrying()

    @property
    def sources(self) -> list[str]:
        """The tasks it reads from, each once."""
        return list(dict.fromkeys(found.source for found in self.inputs if found.source))


class DraftTask(msgspec.Struct, frozen=True, kw_only=True):
    """A task; without ``saved`` only its id is reserved."""

    task_id: str
    kind: TaskKind
    name: str
    saved: SavedTask | None = None


class Draft(msgspec.Struct, frozen=True, kw_only=True):
    """``frozen`` is the version that says what the draft says now, ``versions`` how many there are."""

    draft_id: UUID
    name: str
    versions: int
    frozen: UUID | None


def broken(message: str, **details: Any) -> InterlockError:
    """A rule of drafts is broken; nothing was changed."""
    return rule_broken("WORKFLOW_INVALID", message, **details)


def circle(source: str, target: str) -> InterlockError:
    return broken(f"Edge {source} -> {target} would create a cycle", source=source, target=target)


def read_resources(told: Mapping[str, Any]) -> Resources:
    """Resources in the family's words; cores below 1 are 1, memory of a device asks for a device. Raises RULE."""
    unknown = [key for key in told if key not in _RESOURCES]
    if unknown:
        raise broken(f"Invalid resource key(s): {', '.join(key[:64] for key in unknown[:10])}")
    for key, value in told.items():
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < math.inf:
            raise broken(f"Resource '{key}' must be a number >= 0")
    amounts = {_RESOURCES[key]: float(value) for key, value in told.items()}
    amounts["cpu"] = max(1.0, amounts.get("cpu", 1.0))
    if amounts.get("gpu_memory") and not amounts.get("gpu"):
        amounts["gpu"] = 1.0
    return Resources(**amounts)


def possible_references(value: Any) -> list[tuple[str, str]]:
    """The tasks and keys that a reference may mean, the likeliest first: ``<task>.output.<key>``, ``<task>.<key>``."""
    if not isinstance(value, str):
        return []
    found = [value.partition(".output."), value.partition(".")]
    return [(task_id, key) for task_id, mark, key in found if mark]


def resolve(key: str, value: Any, known: Collection[str]) -> tuple[str, str]:
    """The task and the key that a reference means. Raises RULE for one without a key, or to an unknown task."""
    meant = possible_references(value)
    for task_id, source_key in meant:
        if task_id in known:
            if not source_key:
                raise broken(f"Input '{key[:128]}' has no output key")
            return task_id, source_key
    named = meant[0][0] if meant else str(value)
    if named in known:
        raise broken(f"Input '{key[:128]}' has no output key")
    raise broken(f"Input '{key[:128]}' refers to unknown task '{named[:128]}'")
