"""What the registry says of a node type. The code that runs it stands behind ``ports/node``."""

from __future__ import annotations

from typing import Any, Literal

import msgspec


class NodeType(msgspec.Struct, frozen=True, kw_only=True):
    """A node type as authors see it.

    ``runs``: *kernel* types have their meaning in the engine; *task* types run somewhere (``place``).
    ``data_parameter`` names the parameter that defaults to the node's incoming data.
    ``expressions`` names parameters that are bare expressions, evaluated by the engine and not as a text.
    ``calls_back`` tells types whose result may come later, as a callback from outside.
    ``on_lost`` says what happens when the host of an attempt is lost: run it again, fail as unknown, or ask a person.
    """

    name: str
    title: str
    description: str
    category: str = "action"
    runs: Literal["task", "kernel"] = "task"
    place: Literal["inline", "process", "sandbox"] = "inline"
    schema: dict[str, Any] = msgspec.field(default_factory=lambda: {"type": "object", "properties": {}})
    ports: tuple[str, ...] = ("result",)
    data_parameter: str | None = None
    expressions: frozenset[str] = frozenset()
    on_lost: Literal["rerun", "unknown", "ask"] = "rerun"
    default_timeout: float = 300.0  # seconds per attempt
    calls_back: bool = False  # its result may come later, as a callback
    examples: tuple[dict[str, Any], ...] = ()
