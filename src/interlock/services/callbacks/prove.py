"""Whether somebody may call back: by the token of the attempt, by a signature, or by who they are."""

from __future__ import annotations

from collections.abc import Mapping
from uuid import UUID

import msgspec

from interlock.core.callback import Place, read_token
from interlock.core.errors import ErrorKind, InterlockError, not_found
from interlock.core.principal import Principal, Scope
from interlock.core.webhook import SIGNATURE, key_of, verify
from interlock.kit.clock import Clock
from interlock.ports.store import Store
from interlock.ports.webhooks import CALLBACKS, CALLS, CallbackTarget, RegisteredNodes, SigningSecrets, of_node
from interlock.services.executions.access import visible

BY_TOKEN, BY_SIGNATURE = "callback", "callback:signed"
"""Who is said to have sent a callback without a caller of ours."""
_NOBODY = "whsec_" + "A" * 32
"""A secret that signs nothing: checked where there is none, so that both take the same time."""


class Evidence(msgspec.Struct, frozen=True, kw_only=True):
    """What a callback brought: a token, headers (lower-case names) over exactly this body, and the caller, if any.

    ``tenant_id`` is whose it says to be, if it says so.
    """

    principal: Principal
    token: str | None
    headers: Mapping[str, str]
    body: bytes
    tenant_id: str | None = None


class Proved(msgspec.Struct, frozen=True, kw_only=True):
    """Who called back; with a token for which attempt, with a signature in which message."""

    by: str
    place: Place | None = None
    message_id: str = ""


class ProveCallbacks:
    """The first proof that is there decides; one that does not hold is refused, never passed over."""

    def __init__(self, store: Store, nodes: RegisteredNodes, secrets: SigningSecrets, clock: Clock) -> None:
        self._store = store
        self._nodes = nodes
        self._secrets = secrets
        self._clock = clock

    async def __call__(
        self, execution_id: UUID, step: str, target: CallbackTarget | None, evidence: Evidence
    ) -> Proved:
        """Raises UNAUTHENTICATED without a proof, NOT_FOUND to a caller who may signal but sees no such execution, and
        DENIED (TENANT_MISMATCH) if what is proved is of another tenant than the callback says.

        Without a caller of ours an unknown execution is refused like a wrong proof.
        """
        proved = await self._proved(execution_id, step, target, evidence)
        if target is not None and evidence.tenant_id not in (None, target.tenant_id):
            message = "tenant_id is not that of the session; leave it out of the body"
            raise InterlockError(ErrorKind.DENIED, "TENANT_MISMATCH", message, details={"field": "tenant_id"})
        return proved

    async def _proved(self, execution_id: UUID, step: str, target: CallbackTarget | None, evidence: Evidence) -> Proved:
        if evidence.token is not None:
            return await self._by_token(execution_id, step, target, evidence.token)
        if SIGNATURE in evidence.headers:
            return await self._by_signature(execution_id, step, target, evidence)
        if evidence.principal.kind == "anonymous":
            raise _unproved("A callback needs the token of its callback_url, a signature or a credential")
        evidence.principal.require(Scope.EXECUTIONS_SIGNAL)
        try:
            await visible(self._store, evidence.principal, execution_id)
        except InterlockError as error:
            if error.kind is ErrorKind.NOT_FOUND:
                raise unknown_session(str(execution_id)) from error
            raise
        return Proved(by=evidence.principal.subject)

    async def _by_token(self, execution_id: UUID, step: str, target: CallbackTarget | None, token: str) -> Proved:
        tenant_id = target.tenant_id if target is not None else ""
        for secret in await self._secrets.good(tenant_id, CALLBACKS) or (_NOBODY,):
            place = read_token(key_of(secret), tenant_id, execution_id, token)
            if place is not None and target is not None and step in (place.task_id, node_of(place.task_id)):
                return Proved(by=BY_TOKEN, place=place)
        raise _unproved("The token is not one of this session and step")

    async def _by_signature(
        self, execution_id: UUID, step: str, target: CallbackTarget | None, evidence: Evidence
    ) -> Proved:
        """The address is not signed: so a message is for the session that it came to first, and for no other."""
        secrets = await self._signing(target) if target is not None and target.has_step else ()
        message_id = verify(secrets or (_NOBODY,), evidence.headers, evidence.body, self._clock.now())
        if target is not None:
            signer = CALLS if target.node_id is None else of_node(target.node_id)
            if not await self._nodes.bind_message(target.tenant_id, signer, message_id, execution_id):
                raise _unproved("A message of this webhook-id was for another session; each one has its own id")
        return Proved(by=BY_SIGNATURE, message_id=message_id)

    async def _signing(self, target: CallbackTarget) -> tuple[str, ...]:
        if target.node_id is None:
            return await self._secrets.good(target.tenant_id, CALLS)
        if not await self._nodes.is_registered(target.tenant_id, target.node_id):
            return ()  # whose node was deleted proves nothing any more
        return await self._secrets.good(target.tenant_id, of_node(target.node_id))


def node_of(task_id: str) -> str:
    """The node or flow state of a task id (``each[3]/call``, ``call#2``)."""
    return task_id.rpartition("/")[2].partition("#")[0]


def unknown_session(text: str) -> InterlockError:
    return not_found("SESSION_NOT_FOUND", f"There is no session {text[:64]}")


def _unproved(message: str) -> InterlockError:
    return InterlockError(
        ErrorKind.UNAUTHENTICATED, "AUTHENTICATION_FAILED", message, details={"reason": "invalid_proof"}
    )
