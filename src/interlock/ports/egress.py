"""Calls to the outside: the one way by which anything in the house speaks HTTP to another server."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Protocol

ASKER: ContextVar[str] = ContextVar("ASKER", default="")
"""The tenant that a call is made for, so that its slow servers hold up nobody else's; empty for our own calls."""


OWN_HEADERS = frozenset(("host", "content-length", "transfer-encoding", "te", "trailer", "expect"))
OWN_HEADERS |= {"connection", "keep-alive", "upgrade", "proxy-connection", "proxy-authorization"}
"""Headers that say how a message is framed or routed, in lower case: no caller may send them."""


@dataclass(frozen=True, slots=True)
class EgressResponse:
    """What the other server answered.

    ``headers`` have lower-case names; values of a repeated header are joined by ``", "``. ``body`` is not
    compressed any more and is cut where ``truncated`` is true.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes
    truncated: bool


class CheckUrl(Protocol):
    """Judges an address that is stored to be called later."""

    def __call__(self, url: str) -> None:
        """Raise InterlockError ``EGRESS_BLOCKED`` if no call to ``url`` would ever be made, by what it says itself.

        Nothing is looked up and nobody is called.
        """
        ...


class Egress(Protocol):
    """A guarded HTTP client: it reaches public addresses and those that the operator allowed, and no others."""

    async def request(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str],
        body: bytes | None,
        timeout: float,
        max_bytes: int,
        follow_redirects: bool = False,
    ) -> EgressResponse:
        """Make one HTTP call; any status is an answer, also 3xx, 4xx and 5xx.

        The host is resolved once, all its addresses are checked, and the connection goes to a checked one. From
        the look-up to the end of the body the call takes at most ``timeout`` seconds; at most ``max_bytes`` of the
        (inflated) body are kept. With ``follow_redirects`` up to five redirects of GET and HEAD are followed, each
        checked like a first call; another origin is not given the caller's headers and body. Cookies and proxies
        are never used, and ``Accept-Encoding`` is always ``identity``.

        Raises InterlockError: ``EGRESS_BLOCKED`` (denied) before anything is sent when the URL, a header or an
        address is not allowed; ``TIMEOUT``; ``EXTERNAL_SERVICE_ERROR`` when no complete answer came, which is
        retryable unless the other server does not speak proper HTTP or TLS; its details say ``connected: false`` if
        nothing can have been sent. What may be repeated (not POST and PATCH) is sent once more if a connection that
        had waited was closed without a word.
        """
        ...


class EgressAnswer(Protocol):
    """An answer whose head has come; its body comes piece by piece. ``headers`` have lower-case names."""

    @property
    def status(self) -> int: ...

    @property
    def headers(self) -> Mapping[str, str]: ...

    async def read(self, max_bytes: int) -> bytes:
        """The whole body. Raises EXTERNAL_SERVICE_ERROR if it is cut off or longer, TIMEOUT if it stalls."""
        ...

    def pieces(self) -> AsyncIterator[bytes]:
        """The body as it arrives, without copying it together; the same errors."""
        ...

    def suffices(self) -> None:
        """All that is wanted is here: the connection may be used again if the body ends within a second."""
        ...


class StreamingEgress(Protocol):
    """The same guard for answers that are relayed while they come."""

    def open(
        self, method: str, url: str, *, headers: Mapping[str, str], body: bytes | None, timeout: float, idle: float
    ) -> AbstractAsyncContextManager[EgressAnswer]:
        """Make one call and wait at most ``timeout`` seconds for the head of its answer.

        Redirects are not followed. No more than ``idle`` seconds may pass between two pieces of the body. Leaving
        the context closes the connection unless the body is here to its end, or ``suffices``. What was sent on a
        connection that the other server closed without a word, as it may do with one that waited, is sent once more
        on a new one, whatever the method. Raises what ``Egress.request`` does.
        """
        ...
