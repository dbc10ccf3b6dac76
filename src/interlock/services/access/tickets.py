"""Stream tickets: for clients that cannot send a header, a credential that opens one stream once."""

from __future__ import annotations

import hashlib
import secrets
from datetime import datetime, timedelta

import msgspec

from interlock.core.errors import rule_broken
from interlock.core.principal import Principal
from interlock.kit.clock import Clock
from interlock.ports.access import AccessStore, Ticket
from interlock.services.access.refusals import refused

TICKET_SECONDS = 60
_BYTES = 32
_MAX_CHARACTERS = 128
_MAX_RESOURCE = 512


class IssuedTicket(msgspec.Struct, frozen=True):
    """The ticket's text, shown once, and its life in seconds."""

    ticket: str
    expires_in: int


class StreamTickets:
    """Issues tickets and takes them back. Of a ticket only its hash is kept; it counts once over all processes."""

    def __init__(self, store: AccessStore, clock: Clock) -> None:
        self._store = store
        self._clock = clock

    async def issue(self, principal: Principal, resource: str, ends_at: datetime | None = None) -> IssuedTicket:
        """A ticket for the stream at the path ``resource``. Raises RULE for what is no path.

        ``ends_at`` is when the caller's own token is over, and with it the stream.
        """
        if not resource.startswith("/") or len(resource) > _MAX_RESOURCE or any(sign in resource for sign in "?#\0"):
            raise rule_broken(
                "VALIDATION_ERROR", "resource must be the path of a stream, without a query", field="resource"
            )
        text = secrets.token_urlsafe(_BYTES)
        expires_at = self._clock.now() + timedelta(seconds=TICKET_SECONDS)
        await self._store.add_ticket(_digest(text), Ticket(principal, _plain(resource), expires_at, ends_at))
        return IssuedTicket(text, TICKET_SECONDS)

    async def redeem(self, text: str, path: str) -> Ticket:
        """What opens ``path``, as whom and for how long. Raises UNAUTHENTICATED; the ticket is used up either way."""
        ticket = await self._store.take_ticket(_digest(text)) if len(text) <= _MAX_CHARACTERS else None
        if ticket is None or self._clock.now() >= ticket.expires_at or ticket.resource != _plain(path):
            raise refused("invalid_token", "The ticket is unknown, over, or for another stream; ask for a new one")
        return ticket


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode(errors="surrogatepass")).digest()


def _plain(path: str) -> str:
    """The path in the form that both spellings of one place share."""
    return path.rstrip("/")
