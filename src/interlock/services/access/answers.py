"""The same request again has the same answer: what was answered under an idempotency key, kept for a day."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Sequence
from datetime import timedelta

import msgspec
import structlog

from interlock.core.errors import ErrorKind, InterlockError, conflict
from interlock.core.principal import Principal
from interlock.ports.access import AccessStore, AnswerPlace
from interlock.ports.engine import Key
from interlock.ports.secrets import Secrets

KEPT = timedelta(hours=24)
PATIENCE = timedelta(seconds=60)
"""How long a request may be worked on: no request of these takes so long, so after it the process has died."""
_DIGEST_BYTES = 32
_UNCLEAR = frozenset({ErrorKind.UNAVAILABLE, ErrorKind.TIMEOUT, ErrorKind.INTERNAL})
"""Refusals that do not say whether something was done before."""


class KeptAnswer(msgspec.Struct, frozen=True):
    """A status and a body, as they were sent."""

    status: int
    body: bytes


class KeptAnswers:
    """Answers by tenant, caller, operation and key. Bodies are sealed: some of them hold what is shown once.

    What must not be done twice is claimed before it is begun. If its process dies before it is answered, nobody knows
    whether it was done, and the key says so from then on. What may be done twice is not claimed.

    Of a request a keyed hash is kept for each of ``peppers``: while these are changed, one process after the other,
    any two neighbours have one in common.
    """

    def __init__(self, store: AccessStore, secrets: Secrets, peppers: Sequence[bytes]) -> None:
        self._store = store
        self._secrets = secrets
        self._peppers = tuple(peppers)
        self._log = structlog.get_logger(__name__)

    async def begin(self, principal: Principal, key: Key, *, is_repeatable: bool) -> KeptAnswer | None:
        """The answer that was given, or None if the request is to be carried out now.

        Raises MISMATCH for another request under this key, CONFLICT while it is worked on or if its outcome is lost.
        """
        place, digest = _place(principal, key), self._digest(key)
        if not is_repeatable and await self._store.claim_answer(place, digest, KEPT):
            return None
        stored = await self._store.find_answer(place, PATIENCE)
        if stored is None:
            return None
        if not _is_same(stored.digest, digest):
            message = "This Idempotency-Key was used with another body; use a new key for a new request"
            raise InterlockError(ErrorKind.MISMATCH, "IDEMPOTENCY_MISMATCH", message)
        if stored.status is None or stored.body is None:
            raise _lost() if stored.is_lost else _in_progress()
        return KeptAnswer(stored.status, self._secrets.open(place.tenant_id, _name(place), stored.body))

    async def bind(self, principal: Principal, key: Key) -> KeptAnswer | None:
        """Bind a key to a request that has an id of its own, so that it may be carried out any number of times.

        The answer that was given, or None if it is to be carried out. Raises MISMATCH for another request.
        """
        if await self._store.claim_answer(_place(principal, key), self._digest(key), KEPT):
            return None
        try:
            return await self.begin(principal, key, is_repeatable=True)
        except InterlockError as error:
            if error.kind is not ErrorKind.CONFLICT:
                raise
            return None  # it is worked on, or was when its process died: the id makes both the same

    async def keep(self, principal: Principal, key: Key, answer: KeptAnswer) -> None:
        """Keep what is answered. Never raises: the request has been carried out."""
        place = _place(principal, key)
        sealed = self._secrets.seal(place.tenant_id, _name(place), answer.body)
        try:
            await self._store.keep_answer(place, self._digest(key), answer.status, sealed, KEPT)
        except InterlockError as error:
            self._log.warning("answer.not_kept", scope=place.scope, code=error.code)

    async def give_up(self, principal: Principal, key: Key, error: InterlockError) -> None:
        """The request was refused: unless something may have been done, its key can be used again. Never raises."""
        if error.kind in _UNCLEAR:
            return
        place = _place(principal, key)
        try:
            await self._store.release_answer(place)
        except InterlockError as failed:
            self._log.warning("answer.not_released", scope=place.scope, code=failed.code)

    def _digest(self, key: Key) -> bytes:
        """Keyed, because the request may hold a password."""
        content = key.digest.encode()
        return b"".join(hmac.digest(pepper, content, hashlib.sha256) for pepper in self._peppers)


def _is_same(one: bytes, other: bytes) -> bool:
    """Whether two requests are one, as far as a secret that both hashes were made with says so."""
    found = [hmac.compare_digest(here, there) for here in _parts(one) for there in _parts(other)]
    return any(found)


def _parts(digest: bytes) -> list[bytes]:
    return [digest[start : start + _DIGEST_BYTES] for start in range(0, len(digest), _DIGEST_BYTES)]


def _place(principal: Principal, key: Key) -> AnswerPlace:
    return AnswerPlace(principal.tenant_id, key.scope, key.key)


def _name(place: AnswerPlace) -> str:
    return f"answer/{place.scope}/{place.key}"


def _in_progress() -> InterlockError:
    return InterlockError(
        ErrorKind.CONFLICT,
        "IDEMPOTENCY_IN_PROGRESS",
        "The first request with this Idempotency-Key is not answered yet; ask again in a moment",
        retryable=True,
        retry_after=1.0,
    )


def _lost() -> InterlockError:
    return conflict(
        "OUTCOME_UNKNOWN",
        "The server was stopped while it worked on this Idempotency-Key; see whether it was done, then use a new key",
    )
