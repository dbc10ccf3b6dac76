"""Requests with an Idempotency-Key: each is answered once, and its answer is given again for a day."""

from __future__ import annotations

import asyncio
from uuid import UUID

import structlog

from interlock.core.errors import ErrorKind, InterlockError
from interlock.core.principal import Principal
from interlock.kit.ids import Ids
from interlock.ports.engine import Key
from interlock.ports.models import Books, Place

KEEP_SECONDS = 86_400.0
"""How long an answer is given again."""
LEASE_SECONDS = 30.0
"""After so long without a sign of life of the process that makes an answer, the same request may be made again."""
_log = structlog.get_logger("interlock.models")


class Claimed:
    """A place that this work is to fill, or, with an ``answer``, one that was filled before.

    ``is_kept`` is true as soon as the answer is on its way there.
    """

    __slots__ = ("answer", "is_kept", "place")

    def __init__(self, place: Place, answer: bytes | None = None) -> None:
        self.place = place
        self.answer = answer
        self.is_kept = False


class AnswerOnce:
    """Gives each key to one request at a time. ``renew`` must be called every ten seconds."""

    def __init__(self, books: Books, ids: Ids) -> None:
        self._books = books
        self._ids = ids
        self._held: set[UUID] = set()

    async def claim(self, principal: Principal, key: Key | None) -> Claimed | None:
        """Take the key, or find what was answered under it; None without a key.

        Raises CONFLICT while another request with it is under way, MISMATCH for another body, UNAVAILABLE.
        """
        if key is None:
            return None
        claim_id = self._ids.new()
        effect_key = f"request {key.scope} {key.key}"
        place = Place(tenant_id=principal.tenant_id, effect_key=effect_key, claim_id=claim_id, seconds=KEEP_SECONDS)
        found = await self._books.claim(place, key.digest, LEASE_SECONDS)
        if found.is_ours:
            self._held.add(claim_id)
            return Claimed(place)
        if found.digest != key.digest:
            message = "This Idempotency-Key was used with another body; use a new key for a new request"
            raise InterlockError(ErrorKind.MISMATCH, "IDEMPOTENCY_MISMATCH", message)
        if found.answer is None:
            message = "A request with this Idempotency-Key is under way; try again when it is over"
            raise InterlockError(
                ErrorKind.CONFLICT, "IDEMPOTENCY_IN_PROGRESS", message, retryable=True, retry_after=1.0
            )
        return Claimed(place, found.answer)

    async def end(self, claimed: Claimed | None) -> None:
        """The request is over. A key under which nothing is kept is free again."""
        if claimed is None or claimed.place.claim_id not in self._held:
            return
        self._held.discard(claimed.place.claim_id)
        if claimed.is_kept:
            return
        try:
            await asyncio.shield(self._books.release(claimed.place))
        except InterlockError as error:  # its lease ends by itself
            _log.warning("models.key_not_released", reason=str(error.__cause__ or error))

    async def renew(self) -> None:
        """Hold on to the keys whose answers are being made."""
        if self._held:
            await self._books.renew_claims(list(self._held), LEASE_SECONDS)
