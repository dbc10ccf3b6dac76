"""What server, driver and hosts tell each other.

Server and driver speak MessagePack, each message behind four bytes of length; what is for a host, or from one, passes
through the driver as bytes. Server and hosts speak JSON.
"""

from __future__ import annotations

import os
from typing import Any, Generic, TypeAlias, TypeVar
from uuid import UUID

import msgspec
from msgspec.structs import replace

from interlock.backends.executor.frames import framed
from interlock.backends.executor.pool.messages import Erred, Reported, Succeeded, Suspended
from interlock.backends.executor.ray.parcels import Sent, put_together, take_apart
from interlock.core.code import ARGUMENTS, Code
from interlock.core.commands import AttemptLost, TaskSucceeded
from interlock.core.events import Failure
from interlock.ports.egress import EgressResponse
from interlock.ports.executor import Result
from interlock.ports.node import Attempt
from interlock.ports.task_log import Stream

_MIN_CPUS = 4


class HostPlan(msgspec.Struct, frozen=True, kw_only=True):
    """How a host runs attempts.

    ``registry`` is the dotted path of the node types; ``environment`` is all that children see, or the dotted path of
    a function that says so on the host's machine. ``size`` is how many children there may be; 0: as many as cores.
    ``places`` is the dotted path of a function that takes ``host.Tools`` and makes the executors of other places than
    ``process``, by their name; empty: there are none. ``given`` is for that function.
    """

    registry: str
    environment: dict[str, str] | str
    size: int = 0
    places: str = ""
    given: dict[str, Any] = {}


class Local(msgspec.Struct, frozen=True, kw_only=True):
    """A Ray of our own: ``folder`` is where it keeps what it keeps, ``cpus`` what it says it has."""

    folder: str
    cpus: int


def own_ray() -> Local:
    """One that has this machine's cores; its driver finds the folder."""
    return Local(folder="", cpus=max(_MIN_CPUS, os.cpu_count() or 1))


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """What a driver does, the first thing it is told.

    ``house`` is the installation: its servers share hosts, other installations on the cluster have their own.
    ``session`` is the server. Without ``address`` a Ray is started as ``local`` says. ``call_lines`` is how many lines
    one call to a host carries at most, in either direction.
    """

    house: str
    version: str
    session: str
    address: str
    local: Local | None
    host: HostPlan
    call_lines: int


class NodePlan(msgspec.Struct, frozen=True, kw_only=True):
    """A node of ours at ``address``: one that joins the head at ``join``, or itself a head on ``port``.

    ``folder`` is where it keeps its files. ``memory`` is MiB; what is None Ray finds out.
    """

    address: str
    folder: str
    join: str = ""
    port: int = 0
    cpus: int | None = None
    gpus: int | None = None
    memory: int | None = None


class NodeTold(msgspec.Struct, frozen=True, kw_only=True, tag="node"):
    """A node that runs, by its worker's id. ``memory`` is MiB."""

    worker: str
    address: str
    cpu: float
    memory: float
    gpus: int


class NodeFailed(msgspec.Struct, frozen=True, kw_only=True, tag="failed"):
    """There is no node."""

    reason: str


RAY = "ray-"
"""How the ids of workers begin that are named after a node."""


def worker_of(node_id: str) -> str:
    """The worker that a node is, by the id that Ray gave to the node."""
    return f"{RAY}{node_id[:12]}"


# Between server and driver


class _Message(msgspec.Struct, frozen=True, kw_only=True, tag_field="say", tag=str.lower):
    """Base of all messages."""


class Send(_Message, frozen=True, kw_only=True):
    """Lines for the host of a worker."""

    worker: str
    lines: list[bytes]


class Leave(_Message, frozen=True, kw_only=True):
    """The server is about to go: have what it left on the hosts ended, and end."""


class Node(_Message, frozen=True, kw_only=True):
    """A node of the cluster. ``memory`` is MiB."""

    worker: str
    address: str
    cpu: float
    memory: float
    gpus: int


class Connected(_Message, frozen=True, kw_only=True):
    """The cluster answers. ``worker`` is the node of the server's own machine."""

    worker: str


class Unable(_Message, frozen=True, kw_only=True):
    """The cluster cannot be reached or started; the driver ends."""

    reason: str


class Nodes(_Message, frozen=True, kw_only=True):
    """All nodes there are now; told whenever that changes."""

    nodes: list[Node]


class Way(msgspec.Struct, frozen=True, kw_only=True):
    """How servers of its own machine reach a host: a name of the kernel's, and what to show there."""

    name: str
    key: bytes


class HostReady(_Message, frozen=True, kw_only=True):
    """The host of a worker takes lines, and how it can be reached without Ray."""

    worker: str
    way: Way | None = None


class HostLost(_Message, frozen=True, kw_only=True):
    """The host of a worker is dead, with all that ran there."""

    worker: str
    reason: str


class Got(_Message, frozen=True, kw_only=True):
    """Lines from the host of a worker."""

    worker: str
    lines: list[bytes]


FromServer: TypeAlias = Send | Leave
FromDriver: TypeAlias = Connected | Unable | Nodes | HostReady | HostLost | Got

_packer = msgspec.msgpack.Encoder()
read_plan: msgspec.msgpack.Decoder[Plan] = msgspec.msgpack.Decoder(Plan)
read_server: msgspec.msgpack.Decoder[FromServer] = msgspec.msgpack.Decoder(FromServer)
"""Decodes what a server says to its driver."""
read_driver: msgspec.msgpack.Decoder[FromDriver] = msgspec.msgpack.Decoder(FromDriver)
"""Decodes what a driver says."""


def frame(message: msgspec.Struct) -> bytes:
    """The bytes of a message with its length in front."""
    return framed(_packer.encode(message))


# Between server and host


class Run(_Message, frozen=True, kw_only=True):
    """Run this attempt."""

    attempt: Attempt
    parcels: tuple[Sent, ...] = ()


class Cancel(_Message, frozen=True, kw_only=True):
    """End an attempt; nobody wants to hear of it."""

    execution_id: UUID
    task_id: str


class Seek(_Message, frozen=True, kw_only=True):
    """Tell from now on this server of an attempt, if it is here. Answered by NotHere, or by what comes of it."""

    execution_id: UUID
    task_id: str
    attempt: int


class Kept(_Message, frozen=True, kw_only=True):
    """Those bytes are durable."""

    call: int
    sha256: str


class Opened(_Message, frozen=True, kw_only=True):
    """Those bytes."""

    call: int
    content: bytes


class Fetched(_Message, frozen=True, kw_only=True):
    """That piece of code."""

    call: int
    code: Code


class Answered(_Message, frozen=True, kw_only=True):
    """What the other server said."""

    call: int
    response: EgressResponse


class Refused(_Message, frozen=True, kw_only=True):
    """The call failed. ``kind`` is that of an InterlockError, or empty for a NodeFailed.

    ``is_lost``: it was made, and its answer did not arrive.
    """

    call: int
    kind: str
    error: Failure
    is_lost: bool = False


class Lost(_Message, frozen=True, kw_only=True):
    """The child of an attempt has died."""

    result: AttemptLost


class Told(_Message, frozen=True, kw_only=True):
    """What an attempt reports."""

    execution_id: UUID
    report: Succeeded | Suspended | Erred | Reported | Lost
    parcels: tuple[Sent, ...] = ()


class Said(_Message, frozen=True, kw_only=True):
    """What users' code printed."""

    execution_id: UUID
    task_id: str
    attempt: int
    stream: Stream
    text: str


class NotHere(_Message, frozen=True, kw_only=True):
    """The attempt that was sought is not on this host."""

    execution_id: UUID
    task_id: str
    attempt: int


class Keep(_Message, frozen=True, kw_only=True):
    """Store these bytes for a tenant. Answered by Kept or Refused."""

    call: int
    tenant_id: str
    content: bytes


class Open(_Message, frozen=True, kw_only=True):
    """Read bytes that are stored for a tenant. Answered by Opened or Refused."""

    call: int
    tenant_id: str
    sha256: str


class Fetch(_Message, frozen=True, kw_only=True):
    """Read a piece of a tenant's code. Answered by Fetched or Refused."""

    call: int
    tenant_id: str
    digest: str


class Call(_Message, frozen=True, kw_only=True):
    """Make an HTTP call for a tenant. Answered by Answered or Refused."""

    call: int
    tenant_id: str
    method: str
    url: str
    headers: dict[str, str]
    body: bytes | None
    timeout: float
    max_bytes: int
    follow_redirects: bool


Question: TypeAlias = Keep | Open | Fetch | Call
Reply: TypeAlias = Kept | Opened | Fetched | Answered | Refused
ToHost: TypeAlias = Run | Cancel | Seek | Kept | Opened | Fetched | Answered | Refused
FromHost: TypeAlias = Told | Said | NotHere | Keep | Open | Fetch | Call

_Line = TypeVar("_Line")
_encoder = msgspec.json.Encoder()


class LineReader(Generic[_Line]):
    """Reads lines of one side."""

    def __init__(self, kinds: Any) -> None:
        self._decoder: msgspec.json.Decoder[_Line] = msgspec.json.Decoder(kinds)

    def decode(self, line: bytes) -> _Line:
        """The message of a line. Raises msgspec.MsgspecError for anything else."""
        message = self._decoder.decode(line)
        if isinstance(message, Run) and message.parcels:
            put_together(message.attempt.parameters.get(ARGUMENTS), message.parcels)
        elif isinstance(message, Told) and message.parcels:
            put_together(getattr(message.report.result, "output", None), message.parcels)
        return message


read_to_host: LineReader[ToHost] = LineReader(ToHost)
read_from_host: LineReader[FromHost] = LineReader(FromHost)


def write_line(message: ToHost | FromHost) -> bytes:
    """A line as it travels."""
    if isinstance(message, Run) and message.attempt.packs:
        message = _apart(message.attempt)
    return _encoder.encode(message)


def _apart(attempt: Attempt) -> Run:
    arguments, parcels = take_apart(attempt.parameters.get(ARGUMENTS))
    if not parcels:
        return Run(attempt=attempt)
    return Run(attempt=replace(attempt, parameters={**attempt.parameters, ARGUMENTS: arguments}), parcels=parcels)


_SAID = {"TaskSucceeded": Succeeded, "TaskSuspended": Suspended, "TaskErred": Erred, "TaskReported": Reported}


def tell(execution_id: UUID, result: Result) -> Told:
    """The line that brings a report."""
    if isinstance(result, AttemptLost):
        return Told(execution_id=execution_id, report=Lost(result=result))
    parcels: tuple[Sent, ...] = ()
    if isinstance(result, TaskSucceeded):
        output, parcels = take_apart(result.output)
        result = replace(result, output=output) if parcels else result
    said = _SAID[type(result).__name__]
    return Told(execution_id=execution_id, report=said(result=result), parcels=parcels)
