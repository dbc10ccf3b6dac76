"""One operation, declared once as data: its route, policy, validation and documentation all come from here."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, Protocol, TypeVar

from starlette.types import Receive, Scope, Send

from interlock.core.errors import InterlockError
from interlock.core.principal import Principal
from interlock.services.bundle import Services

if TYPE_CHECKING:
    from interlock.doors.http.plumbing.context import Context
    from interlock.doors.http.plumbing.trace import Exchange

Body = TypeVar("Body")
Query = TypeVar("Query")

ANONYMOUS = Principal(subject="anonymous", tenant_id="", scopes=frozenset(), kind="anonymous")
"""Who calls an open operation. It holds no scope, so no service does anything for it."""


class Policy(StrEnum):
    """Who may call an operation."""

    OPEN = "open"  # everybody; a credential is not looked at
    OPTIONAL = "optional"  # everybody; a credential that is present must be valid
    USER = "user"  # a person's token with the scope
    KEY = "key"  # an API key with the scope
    CALLER = "caller"  # either of the two with the scope
    LOCAL = "local"  # in local mode also the local user, without a credential; else a caller
    TENANT = "tenant"  # in local mode also whoever names a tenant in X-Tenant-Id; else a caller
    PROOF = "proof"  # the request proves itself, which the handler checks; a credential that is present must be valid


class Keeping(StrEnum):
    """Whether the answer to a request with an Idempotency-Key is kept, to be given again."""

    NO = "no"
    ONCE = "once"  # to be done once: the key is claimed before it is done
    REPEATABLE = "repeatable"  # doing it again changes nothing more, so that a lost answer can be made anew


class HeaderField(NamedTuple):
    """A header that an operation reads: its name, what it is for, and its form as JSON schema."""

    name: str
    meaning: str
    schema: dict[str, Any]


class Reply(Protocol):
    """An answer that can be sent once."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None: ...


class Call(Generic[Body, Query]):
    """One call of an operation, checked: the principal holds the scope, body and query have their types."""

    __slots__ = ("body", "context", "exchange", "operation", "path", "principal", "query", "raw_body", "scope")

    def __init__(
        self,
        operation: Operation,
        context: Context,
        exchange: Exchange,
        scope: Scope,
        principal: Principal,
        path: dict[str, str],
        query: Query,
        body: Body,
        raw_body: bytes,
    ) -> None:
        self.operation = operation
        self.context = context
        self.exchange = exchange
        self.scope = scope
        self.principal = principal
        self.path = path
        self.query = query
        self.body = body
        self.raw_body = raw_body

    @property
    def services(self) -> Services:
        return self.context.services

    @property
    def trace_id(self) -> str:
        return self.exchange.trace_id

    @property
    def request_id(self) -> str:
        return self.exchange.request_id

    @property
    def prefix(self) -> str:
        """The prefix this request came by; links in the answer use it."""
        return self.operation.door.prefix_of(self.exchange.path)

    @property
    def credential(self) -> str:
        """The token that was accepted, for streams that must check it again; empty for an open operation."""
        return self.exchange.credential

    def acts_on(self, target: str, detail: str = "") -> None:
        """Tell the audit log what the call is about, where its path does not say that, and what it sets.

        No secrets: both are shown to administrators for as long as the log is kept.
        """
        self.exchange.target = target
        self.exchange.detail = detail

    def header(self, name: str) -> str | None:
        """A header of the request by its lower-case name."""
        value = self.exchange.headers.get(name.encode())
        return None if value is None else value.decode("latin-1")


Handler = Callable[[Call[Any, Any]], Awaitable[Reply]]


@dataclass(frozen=True, slots=True)
class Refusal:
    """Everything a door's envelope may show of a refused request. ``timestamp`` is RFC 3339 UTC."""

    error: InterlockError
    status: int
    path: str
    method: str
    request_id: str
    trace_id: str
    timestamp: str


Envelope = Callable[[Refusal], dict[str, Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Door:
    """One public vocabulary: where its paths begin, how it words a refusal, what a broken rule answers."""

    name: str
    prefixes: tuple[str, ...]
    envelope: Envelope
    rule_status: int = 422
    statuses: Mapping[str, int] = field(default_factory=dict)  # by code, where a kind's own would be another one
    media_type: str = "application/json"
    answers_misses: bool = False  # a wrong method on its paths is refused in this door's words
    owns: tuple[str, ...] = ()  # beginnings of paths that are this door's even where nothing is
    error_headers: Callable[[InterlockError], tuple[tuple[bytes, bytes], ...]] = lambda error: ()

    def prefix_of(self, path: str) -> str:
        """The door's prefix that ``path`` begins with; its first one for any other path."""
        found = [prefix for prefix in self.prefixes if path.startswith(prefix + "/")]
        return max(found, key=len) if found else self.prefixes[0]


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """What a door offers under one method and path.

    ``path`` is a template below the door's prefixes (``/executions/{execution_id}``). ``body`` and ``query`` are
    msgspec structs. ``aliases`` maps other accepted names of body fields, and ``query_aliases`` of query
    parameters, to the ones in the structs. ``answer`` documents the body of ``status``, a tuple all its shapes;
    ``media_type`` what it is if not JSON, ``streamed_as`` what it is if the caller wants it bit by bit.
    ``failures`` are the further statuses that clients should expect, ``headers`` those it reads that others do not,
    ``example`` a body that can be sent as it is.
    """

    method: str
    path: str
    door: Door
    summary: str
    handler: Handler
    policy: Policy | None = None
    scope: str | None = None
    body: type[Any] | None = None
    query: type[Any] | None = None
    aliases: Mapping[str, str] = field(default_factory=dict)
    query_aliases: Mapping[str, str] = field(default_factory=dict)
    answer: Any = None
    status: int = 200
    media_type: str = "application/json"
    streamed_as: str | None = None
    failures: tuple[int, ...] = ()
    headers: tuple[HeaderField, ...] = ()
    example: Any = None
    tags: tuple[str, ...] = ()
    takes_rest: bool = False  # the last parameter of its path may hold slashes, written as %2F
    max_body: int | None = None  # bytes, where it is not what the settings say
    is_stream: bool = False
    is_keyed: bool = False  # honours Idempotency-Key by itself
    keeping: Keeping = Keeping.NO  # honours it by keeping its answer
    claimed: Callable[[Any], str] | None = None  # by the body: who a caller says it is whom nobody knows yet
    is_start: bool = False  # every call starts an execution of the caller's tenant, or nothing
    is_change: bool = False  # changes something although its method says that it looks
    is_logged: bool = False  # the log of an execution names its caller, in the commit of what it does
    key_in_url: str | None = None  # the query parameter in which an API key may stand, where the settings allow it
    route: str = field(init=False)
    """The template with the door's first prefix: what logs, metrics and idempotency scopes call it."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "route", self.door.prefixes[0] + self.path)

    @property
    def takes_key(self) -> bool:
        """Whether it honours Idempotency-Key."""
        return self.is_keyed or self.keeping is not Keeping.NO

    def paths(self) -> tuple[str, ...]:
        """The template under each prefix of the door."""
        return tuple(prefix + self.path for prefix in self.door.prefixes)
