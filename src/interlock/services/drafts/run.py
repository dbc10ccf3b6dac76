"""Run a draft: freeze what it says as a version, and start that."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import msgspec

from interlock.core.definition import digest
from interlock.core.definition.freeze_draft import freeze_draft
from interlock.core.draft import Draft
from interlock.core.errors import ErrorKind, InterlockError, conflict, unavailable
from interlock.core.ids import VersionId, WorkflowId
from interlock.core.placing.over_ask import Policy
from interlock.core.principal import Principal, Scope
from interlock.core.workflow import GraphDefinition, Version
from interlock.kit.clock import Clock
from interlock.kit.ids import named
from interlock.ports.engine import Engine, Key, StartExecution, WorkflowChanged
from interlock.ports.executor import Ready
from interlock.ports.store import Store
from interlock.services.drafts.find import reading, using
from interlock.services.sessions.session import METADATA, SCOPE, check_chosen


class RunWish(msgspec.Struct, frozen=True, kw_only=True):
    """What a caller wants run. ``inputs`` are by task and name; ``deadline`` is seconds for the whole run."""

    draft_id: str
    trace_id: str
    run_id: str | None = None
    inputs: dict[str, dict[str, Any]] = {}
    priority: int = 5
    deadline: float | None = None
    over_ask: Policy | None = None
    key: Key | None = None


class RunStarted(msgspec.Struct, frozen=True):
    """A run by what it is called. ``is_replay``: an earlier request had started it."""

    run_id: str
    execution_id: UUID
    is_replay: bool


class RunDrafts:
    """Start runs of drafts; later changes of a draft never reach a run."""

    def __init__(self, store: Store, engine: Engine, clock: Clock, is_ready: Ready) -> None:
        self._store = store
        self._engine = engine
        self._clock = clock
        self._is_ready = is_ready

    async def __call__(self, principal: Principal, wish: RunWish) -> RunStarted:
        """Start, durable when this returns; the same run id and version again is the same run.

        Raises DENIED, NOT_FOUND, RULE for a task that cannot be run, CONFLICT for a run id that is in use for
        something else, MISMATCH for such a key, LIMITED and UNAVAILABLE for want of room, UNAVAILABLE
        ``EXECUTOR_UNAVAILABLE`` while nothing could run.
        """
        principal.require(Scope.WORKFLOWS_EXECUTE)
        if wish.run_id is not None:
            check_chosen(wish.run_id, "run_id")
        version = await self._freeze(principal, wish)
        require_executor(self._is_ready)
        try:
            standing = await self._engine.start(_request(principal, wish, version))
        except WorkflowChanged as error:
            raise unavailable("The run was not recorded; try again") from error
        except InterlockError as error:
            if error.kind is ErrorKind.MISMATCH and wish.run_id is not None:
                raise _in_use(wish.run_id) from error
            raise
        return RunStarted(wish.run_id or str(standing.execution_id), standing.execution_id, standing.is_replay)

    async def _freeze(self, principal: Principal, wish: RunWish) -> Version:
        """The version that says what the draft says now."""
        async with self._store.transaction(principal) as transaction:
            draft = await reading(transaction, wish.draft_id)
        if draft.frozen is not None:
            version = await self._store.version(principal, VersionId(draft.frozen))
            if version is not None and _over_ask(version) == wish.over_ask:
                return version
        return await self._freeze_anew(principal, wish)

    async def _freeze_anew(self, principal: Principal, wish: RunWish) -> Version:
        async with self._store.transaction(principal) as transaction:
            draft = await using(transaction, wish.draft_id)
            tasks = await transaction.draft_tasks(draft.draft_id)
            definition = freeze_draft(tasks, await transaction.edges(draft.draft_id), wish.over_ask)
            version = version_of(principal, draft, definition, self._clock)
            is_new = await transaction.add_draft_version(principal.tenant_id, draft, version)
            await transaction.set_frozen(draft.draft_id, version.version_id)
        return version if is_new else await self._store.version(principal, version.version_id) or version


def require_executor(is_ready: Ready) -> None:
    """Return if tasks can be run now. Raises UNAVAILABLE ``EXECUTOR_UNAVAILABLE``."""
    if not is_ready():
        raise unavailable("Executor not ready", code="EXECUTOR_UNAVAILABLE")


def version_of(principal: Principal, draft: Draft, definition: GraphDefinition, clock: Clock) -> Version:
    """The next version of a draft; its id says what is in it."""
    found = digest(definition)
    return Version(
        version_id=VersionId(named("version", principal.tenant_id, str(draft.draft_id), found)),
        workflow_id=WorkflowId(draft.draft_id),
        number=draft.versions + 1,
        digest=found,
        definition=definition,
        created_at=clock.now(),
        created_by=principal.subject,
    )


def _request(principal: Principal, wish: RunWish, version: Version) -> StartExecution:
    chosen = wish.run_id
    return StartExecution(
        tenant_id=principal.tenant_id,
        user_id=principal.subject,
        started_by=principal.actor or None,
        visibility="tenant",
        workflow_id=version.workflow_id,
        version_id=version.version_id,
        number=version.number,
        definition=version.definition,
        input=wish.inputs,
        trace_id=wish.trace_id,
        metadata={} if chosen is None else {METADATA: {"session_id": chosen}},
        priority=wish.priority,
        deadline=wish.deadline,
        key=wish.key if chosen is None else Key(SCOPE, chosen, str(version.version_id)),
    )


def _over_ask(version: Version) -> Policy | None:
    definition = version.definition
    return definition.settings.over_ask if isinstance(definition, GraphDefinition) else None


def _in_use(run_id: str) -> InterlockError:
    return conflict("CONFLICT", f"Run {run_id[:128]} already exists")
