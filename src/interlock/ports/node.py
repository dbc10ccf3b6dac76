"""Node types: what runs a task, and what it is given. Also the registry that executors and doors read."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime
from typing import Any, Protocol, runtime_checkable
from uuid import UUID

import msgspec

from interlock.core.effects import effect_key
from interlock.core.events import ArtifactRef
from interlock.core.models.requests import Kind
from interlock.core.node_type import NodeType
from interlock.core.resources import Placement, Resources
from interlock.ports.egress import Egress
from interlock.ports.webhooks import WebhookCall


class Attempt(msgspec.Struct, frozen=True, kw_only=True):
    """An attempt on its way to an executor. ``timeout`` is seconds.

    All attempts of a task have one ``effect_key``: give it to other systems, so that they can tell a repeat. A call
    that several tasks share has their ``effect_keys``, in the order of its arguments. ``code`` are the pieces of users'
    code it needs, by digest; they are there only in the sandbox. With ``packs`` large values of its result may be
    packed, and those of its arguments may be parcels (``core/parcel``).
    """

    execution_id: UUID
    tenant_id: str
    task_id: str
    node_id: str
    attempt: int
    node_type: str
    parameters: dict[str, Any]
    timeout: float
    trace_id: str
    isolated: bool = False
    packs: bool = False
    payload: Any = None
    resources: Resources | None = None
    placement: Placement | None = None
    code: Mapping[str, bytes] = {}
    shared_by: tuple[str, ...] = ()
    blackboard: Mapping[str, Any] = {}  # in a flow also what its states gave, and the names of the house

    @property
    def effect_key(self) -> str:
        return effect_key(self.execution_id, self.task_id)

    @property
    def effect_keys(self) -> tuple[str, ...]:
        """Those of the tasks that share the call; the one of its task if it is alone."""
        return self.shared_by or (self.effect_key,)


class Done(msgspec.Struct, frozen=True, kw_only=True):
    """A node's result. ``raised`` are events for its flow, best first; ``needs_input`` asks the flow's user."""

    output: Any = None
    port: str = "result"
    blackboard: dict[str, Any] = {}
    artifacts: tuple[ArtifactRef, ...] = ()
    raised: tuple[str, ...] = ()
    ui_schema: Any = None
    needs_input: bool = False


class Suspend(msgspec.Struct, frozen=True, kw_only=True):
    """An intent instead of a result: the task rests until ``wake_at``, a signal, a callback or an approval.

    What ends the rest becomes the task's output; the node is not called again.
    """

    waits_for: str  # timer, signal, callback, approval
    name: str = ""
    wake_at: datetime | None = None
    approval: dict[str, Any] | None = None


class NodeFailed(Exception):
    """Raised by a node: the attempt failed with this code. Retried only if ``retryable`` and the policy allows."""

    def __init__(
        self, code: str, message: str, *, retryable: bool = False, details: dict[str, Any] | None = None
    ) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.retryable = retryable
        self.details = details or {}


class Services(Protocol):
    """What a running node may use beside its parameters."""

    @property
    def egress(self) -> Egress: ...

    async def write_artifact(self, name: str, content: bytes, content_type: str) -> ArtifactRef:
        """Store a file; it belongs to the execution once the result that lists it is recorded."""
        ...

    async def webhook_call(self, node_id: str | None, seconds: float | None) -> WebhookCall:
        """What this attempt needs to call a webhook: the registered node of that id, or any address.

        Its callback may come for ``seconds`` from now; None: as long as the node was registered with.
        """
        ...

    async def model_call(self, kind: Kind, body: dict[str, Any]) -> dict[str, Any]:
        """Ask a model in OpenAI's shape. All attempts of the task get one answer, which is paid once.

        Raises InterlockError as the model gateway tells it, and NodeFailed MODELS_UNAVAILABLE.
        """
        ...

    def report(self, progress: float | None = None, message: str = "", data: Any = None) -> None:
        """Say how far the attempt is (0 to 1). Also the heartbeat of long work."""
        ...


Outcome = Done | Suspend


@runtime_checkable
class Node(Protocol):
    """A task node type. ``run`` may be plain (then it must be quick and pure) or async."""

    type: NodeType

    def run(self, attempt: Attempt, services: Services) -> Outcome | Awaitable[Outcome]: ...


Resolve = Callable[[str], Node | None]


class Registry(Protocol):
    """All installed node types."""

    @property
    def types(self) -> Mapping[str, NodeType]: ...

    def node(self, name: str) -> Node:
        """The code of a task type. Raises KeyError for a kernel type or an unknown name."""
        ...
