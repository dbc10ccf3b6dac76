"""Workflows: what a person writes, frozen as versions. A definition is data; compiling it is the engine's work."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

import msgspec

from interlock.core.ids import VersionId, WorkflowId
from interlock.core.placing.over_ask import Policy
from interlock.core.resources import Resources

Kind = Literal["graph", "flow", "agent"]
OnError = Literal["stop", "continue", "error_output"]


class RetryPolicy(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """How often and when a failed task is tried again. Times are seconds.

    The n-th retry waits ``backoff * factor**(n-1)``, at most ``max_backoff``; ``jitter`` takes off up to half.
    An empty ``retry_on`` means: whatever the node calls retryable; otherwise the listed error codes.
    """

    max_attempts: int = 1
    backoff: float = 1.0
    factor: float = 2.0
    max_backoff: float = 60.0
    jitter: bool = True
    retry_on: tuple[str, ...] = ()


class NodeDefinition(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """One thing for a graph to do: which node type, with which parameters. Times are seconds."""

    id: str
    type: str
    name: str = ""
    parameters: dict[str, Any] = {}
    input: dict[str, Any] = {}  # default values under what the connections deliver
    retry: RetryPolicy = RetryPolicy()
    timeout: float | None = None  # per attempt; a node the engine itself carries out has only one
    deadline: float | None = None  # per task, all attempts together
    heartbeat: float | None = None  # longest silence of an attempt between two progress reports
    on_error: OnError = "stop"
    join: Literal["all", "any"] = "all"
    disabled: bool = False
    resources: Resources | None = None  # None: it needs no place of its own on a worker


class ConnectionDefinition(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """From node to node: what ``source`` gives at ``port`` reaches ``target`` as ``into``, if ``when`` is truthy."""

    source: str
    target: str
    port: str = "result"
    into: str = "main"
    when: str | None = None
    mapping: Any = None


class GraphSettings(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """Rules for a whole graph. ``timeout`` is seconds for the execution."""

    max_parallel: int = 100
    timeout: float | None = None
    on_failure: Literal["stop", "continue"] = "stop"
    output: Any = None
    over_ask: Policy | None = None  # for resources no worker has; the server may be stricter


class GraphDefinition(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, tag_field="kind", tag="graph"):
    """A workflow of nodes; each starts when what its connections bring is there."""

    nodes: tuple[NodeDefinition, ...]
    connections: tuple[ConnectionDefinition, ...] = ()
    settings: GraphSettings = GraphSettings()


class StateTimer(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Resting in a state for ``after`` seconds raises ``event``."""

    after: float
    event: str


class TransitionDefinition(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """``source`` moves to ``target`` on ``event``, if ``when`` holds. Several sources with ``fan_in`` are a join."""

    source: tuple[str, ...]
    event: str
    target: tuple[str, ...]
    fan_in: bool = False
    when: str | None = None


class FlowDefinition(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, tag_field="kind", tag="flow"):
    """A workflow of states; signals, timers and the results of nodes move it on. ``timeouts`` are seconds per task."""

    states: tuple[str, ...]
    initial_state: str
    nodes: dict[str, str] = {}  # flow state -> node type
    parameters: dict[str, dict[str, Any]] = {}  # flow state -> parameters of its node
    user_input_states: tuple[str, ...] = ()
    terminal_states: tuple[str, ...] = ()
    retry: dict[str, RetryPolicy] = {}
    timeouts: dict[str, float] = {}
    timers: dict[str, StateTimer] = {}
    transitions: tuple[TransitionDefinition, ...] = ()


Definition = GraphDefinition | FlowDefinition


class Version(msgspec.Struct, frozen=True, kw_only=True):
    """A workflow as it was saved at one time. It never changes, and an execution keeps to the one it began with."""

    version_id: VersionId
    workflow_id: WorkflowId
    number: int
    digest: str
    definition: Definition
    created_at: datetime
    created_by: str


class Workflow(msgspec.Struct, frozen=True, kw_only=True):
    """What an author named and saved. ``source`` is what was sent, so that a door can answer in the same form."""

    workflow_id: WorkflowId
    tenant_id: str
    user_id: str
    visibility: Literal["private", "tenant"]
    kind: Kind
    name: str
    description: str
    tags: tuple[str, ...]
    icon_url: str | None
    version: Version
    source: dict[str, Any]
    created_at: datetime
    updated_at: datetime


class Problem(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One thing wrong with a definition: where (a path such as ``nodes[2].parameters.url``), what, what to do."""

    code: str
    message: str
    path: str
    node_id: str | None = None
    value: Any = None
    hint: str = ""
