"""Open streams end when what opened them is good no longer: a key revoked, a token over, a tenant shut out."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

from interlock.core.errors import ErrorKind, InterlockError
from interlock.core.principal import Principal
from interlock.doors.http.plumbing.credentials import unauthenticated

if TYPE_CHECKING:
    from interlock.doors.http.plumbing.context import Context
    from interlock.doors.http.plumbing.trace import Exchange

TURN_SECONDS = 0.75
"""How often is looked; with the 4 s for which a verified key is believed, a revocation holds within 5 s."""
_TURNS_PER_QUERY = 4  # of those that can only be checked in the database

End = Callable[[InterlockError], None]


class _Proof(NamedTuple):
    """What opened streams: streams with the same one are checked once."""

    principal: Principal
    credential: str
    ends_at: float | None


class Proofs:
    """The credentials behind the open streams of one server. A task checks them while there are any."""

    def __init__(self) -> None:
        self._ends: dict[_Proof, set[End]] = {}
        self._task: asyncio.Task[None] | None = None

    def keep(self, context: Context, exchange: Exchange, principal: Principal, end: End) -> Callable[[], None]:
        """Call ``end``, once, when the credential of ``exchange`` holds no longer; what comes back stops the checks.

        A database that is away ends nothing: what cannot be checked now is checked as soon as it can.
        """
        proof = _Proof(principal, exchange.credential, exchange.ends_at)
        self._ends.setdefault(proof, set()).add(end)
        if self._task is None:
            self._task = asyncio.create_task(self._check_on(context), name="proofs")
        return lambda: self._forget(proof, end)

    def _forget(self, proof: _Proof, end: End) -> None:
        ends = self._ends.get(proof)
        if ends is not None:
            ends.discard(end)
            if not ends:
                del self._ends[proof]
        if not self._ends and self._task is not None:
            self._task.cancel()
            self._task = None

    async def _check_on(self, context: Context) -> None:
        turn = 0
        while True:
            await asyncio.sleep(TURN_SECONDS)
            turn += 1
            for proof in tuple(self._ends):
                try:
                    await _check(context, proof, may_query=turn % _TURNS_PER_QUERY == 0)
                except InterlockError as error:
                    if error.kind not in (ErrorKind.UNAVAILABLE, ErrorKind.TIMEOUT):
                        self._end(proof, error)

    def _end(self, proof: _Proof, error: InterlockError) -> None:
        for end in self._ends.pop(proof, set()):
            end(error)


async def _check(context: Context, proof: _Proof, *, may_query: bool) -> None:
    """Raise UNAUTHENTICATED if the credential is good no longer."""
    access = context.services.access
    access.gate.admit(proof.principal)
    if proof.ends_at is not None and context.clock.now().timestamp() >= proof.ends_at:
        raise unauthenticated("The token that opened this stream is over; open it again with a new one", "expired")
    if proof.credential:
        await context.services.identity.authenticate(proof.credential)
    elif proof.principal.key_id is not None and may_query:
        await access.key_identity.prove(proof.principal)
