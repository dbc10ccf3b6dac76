"""Stream tickets: for clients that cannot send a header, a credential that opens one stream once."""

from __future__ import annotations

import hashlib
import secrets
from datetime import datetime, timedelta

import msgspec

from interlock.core.errors import ErrorKind, InterlockError, rule_broken
from interlock.core.principal import Principal
from interlock.kit.clock import Clock
from interlock.ports.access import AccessStore, Ticket
from interlock.ports.identity import Identity
from interlock.ports.secrets import Secrets
from interlock.services.access.authenticate import KeyIdentity
from interlock.services.access.refusals import refused

TICKET_SECONDS = 60
MAX_TICKETS = 5_000
"""Tickets of a tenant that are good and unused."""
_BYTES = 32
_MAX_CHARACTERS = 128
_MAX_RESOURCE = 512


class IssuedTicket(msgspec.Struct, frozen=True):
    """The ticket's text, shown once, and its life in seconds."""

    ticket: str
    expires_in: int


class Redeemed(msgspec.Struct, frozen=True):
    """Who opens the stream now. ``credential`` is the token behind it, to be checked as long as the stream is open."""

    principal: Principal
    credential: str
    ends_at: datetime | None


class StreamTickets:
    """Issues tickets and takes them back. Of a ticket only its hash is kept; it counts once over all processes.

    A ticket is worth what the credential behind it is worth at the moment it is used: a key is looked up again, and a
    token, kept sealed for that minute, is asked of ``tokens`` again.
    """

    def __init__(self, store: AccessStore, clock: Clock, keys: KeyIdentity, tokens: Identity, secrets: Secrets) -> None:
        self._store = store
        self._clock = clock
        self._keys = keys
        self._tokens = tokens
        self._secrets = secrets

    async def issue(
        self, principal: Principal, resource: str, credential: str = "", ends_at: datetime | None = None
    ) -> IssuedTicket:
        """A ticket for the stream at the path ``resource``. Raises RULE for what is no path, LIMITED for too many.

        ``credential`` is what the caller came with; ``ends_at`` is when that token is over, and with it the stream.
        """
        if not resource.startswith("/") or len(resource) > _MAX_RESOURCE or any(sign in resource for sign in "?#\0"):
            raise rule_broken(
                "VALIDATION_ERROR", "resource must be the path of a stream, without a query", field="resource"
            )
        text = secrets.token_urlsafe(_BYTES)
        expires_at = self._clock.now() + timedelta(seconds=TICKET_SECONDS)
        digest = _digest(text)
        token = credential.encode() if principal.key_id is None else b""  # of a key its id says enough
        sealed = self._secrets.seal(principal.tenant_id, _name(digest), token) if token else b""
        ticket = Ticket(principal, _plain(resource), expires_at, ends_at, sealed)
        if not await self._store.add_ticket(digest, ticket, MAX_TICKETS):
            message = f"Your tenant has {MAX_TICKETS} tickets that nobody used yet; they are over after a minute"
            raise InterlockError(
                ErrorKind.LIMITED, "TOO_MANY_TICKETS", message, retryable=True, retry_after=TICKET_SECONDS
            )
        return IssuedTicket(text, TICKET_SECONDS)

    async def redeem(self, text: str, path: str) -> Redeemed:
        """What opens ``path``, as whom and for how long; the ticket is used up either way.

        Raises UNAUTHENTICATED, also if the credential behind it is good no longer, and UNAVAILABLE if that cannot be
        found out now.
        """
        digest = _digest(text)
        ticket = await self._store.take_ticket(digest) if len(text) <= _MAX_CHARACTERS else None
        if ticket is None or self._clock.now() >= ticket.expires_at or ticket.resource != _plain(path):
            raise refused("invalid_token", "The ticket is unknown, over, or for another stream; ask for a new one")
        holder = ticket.principal
        if holder.key_id is not None:
            await self._keys.prove(holder)
        if not ticket.credential:
            return Redeemed(holder, "", ticket.ends_at)
        token = self._secrets.open(holder.tenant_id, _name(digest), ticket.credential).decode()
        return Redeemed(await self._tokens.authenticate(token), token, ticket.ends_at)


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode(errors="surrogatepass")).digest()


def _name(digest: bytes) -> str:
    """For what a token is sealed."""
    return f"ticket/{digest.hex()}"


def _plain(path: str) -> str:
    """The path in the form that both spellings of one place share."""
    return path.rstrip("/")
