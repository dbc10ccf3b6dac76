"""Call a task of a draft with arguments that only the sandbox reads, and wait for what it gives."""

from __future__ import annotations

import asyncio
from typing import Any
from uuid import UUID

import msgspec

from interlock.core.definition.freeze_draft import freeze_call
from interlock.core.draft import DraftTask, broken
from interlock.core.errors import ErrorKind, InterlockError, conflict, rule_broken, unavailable
from interlock.core.execution import ENDED, Status
from interlock.core.ids import ExecutionId
from interlock.core.large import put_back
from interlock.core.principal import Principal, Scope
from interlock.core.workflow import Version
from interlock.kit.clock import Clock
from interlock.ports.blobs import Blobs
from interlock.ports.engine import Engine, Key, Standing, StartExecution, WorkflowChanged
from interlock.ports.executor import Ready
from interlock.ports.store import Store
from interlock.services.code.save import SaveCode
from interlock.services.drafts.find import reading, require_size, unknown_task, using
from interlock.services.drafts.run import require_executor, version_of
from interlock.services.executions.access import visible
from interlock.services.executions.shown import with_lists
from interlock.services.executions.watch import WatchExecutions

LONGEST = 600.0
"""Seconds a call may take."""


class CallWish(msgspec.Struct, frozen=True, kw_only=True):
    """A call; ``args`` is a pickled tuple and ``kwargs`` a pickled dict."""

    draft_id: str
    task_id: str
    args: bytes
    kwargs: bytes
    trace_id: str
    key: Key | None = None


class Called(msgspec.Struct, frozen=True):
    """What a call gave. ``is_replay``: an earlier request had made it."""

    run_id: str
    result: Any
    is_replay: bool


class _Outcome(msgspec.Struct, frozen=True):
    status: str
    output: Any
    error: Any


class CallTasks:
    """Call tasks; each call is a run of its own. Whoever stops waiting cancels it."""

    def __init__(
        self,
        store: Store,
        blobs: Blobs,
        engine: Engine,
        watch: WatchExecutions,
        save_code: SaveCode,
        clock: Clock,
        is_ready: Ready,
    ) -> None:
        self._is_ready = is_ready
        self._store = store
        self._blobs = blobs
        self._engine = engine
        self._watch = watch
        self._save_code = save_code
        self._clock = clock

    async def __call__(self, principal: Principal, wish: CallWish) -> Called:
        """The result of the call; arrays in it are lists.

        Raises DENIED, NOT_FOUND, RULE for a task that is not called so and RESULT_NOT_JSON, TOO_LARGE, LIMITED and
        UNAVAILABLE for want of room or of an executor, TIMEOUT beyond ``LONGEST``, INTERNAL ``TASK_FAILED``, CONFLICT
        once cancelled.
        """
        principal.require(Scope.WORKFLOWS_EXECUTE)
        self._save_code.permit(principal)
        version = await self._freeze(principal, wish)
        require_executor(self._is_ready)
        pickles = {}
        for name, content in (("args", wish.args), ("kwargs", wish.kwargs)):
            require_size(content, name)
            pickles[name] = await self._save_code(principal, "pickle", content)
        standing = await self._start(principal, wish, version, pickles)
        try:
            outcome = await self._end(principal, standing)
        except (asyncio.CancelledError, TimeoutError):
            await asyncio.shield(self._cancel(principal, wish, standing.execution_id))
            raise
        return Called(str(standing.execution_id), _result(outcome, standing.execution_id), standing.is_replay)

    async def _freeze(self, principal: Principal, wish: CallWish) -> Version:
        async with self._store.transaction(principal) as transaction:
            draft = await reading(transaction, wish.draft_id)
            task = await transaction.draft_task(draft.draft_id, wish.task_id)
        if task is None:
            raise unknown_task(wish.task_id, draft.draft_id)
        _require_callable(task)
        definition = freeze_call(task, LONGEST)
        known = await self._store.version(principal, version_of(principal, draft, definition, self._clock).version_id)
        if known is not None:
            return known
        async with self._store.transaction(principal) as transaction:
            version = version_of(principal, await using(transaction, wish.draft_id), definition, self._clock)
            is_new = await transaction.add_draft_version(principal.tenant_id, draft, version)
        return version if is_new else await self._store.version(principal, version.version_id) or version

    async def _start(self, principal: Principal, wish: CallWish, version: Version, pickles: dict[str, str]) -> Standing:
        request = StartExecution(
            tenant_id=principal.tenant_id,
            user_id=principal.subject,
            started_by=principal.actor or None,
            visibility="tenant",
            workflow_id=version.workflow_id,
            version_id=version.version_id,
            number=version.number,
            definition=version.definition,
            input=pickles,
            trace_id=wish.trace_id,
            deadline=LONGEST,
            key=wish.key,
        )
        try:
            return await self._engine.start(request)
        except WorkflowChanged as error:
            raise unavailable("The call was not recorded; try again") from error

    async def _end(self, principal: Principal, standing: Standing) -> _Outcome:
        """How the run ended. It is ended by its deadline at the latest."""
        row = await visible(self._store, principal, standing.execution_id)
        if row.status not in ENDED:
            watch = await self._watch.follow(principal, row, 0)
            try:
                async with asyncio.timeout(LONGEST + 30.0):
                    await _read_to_end(watch.next)
            finally:
                watch.close()
            row = await visible(self._store, principal, standing.execution_id)
        large = {
            sha256: msgspec.json.decode(await self._blobs.get(row.tenant_id, sha256))
            for sha256 in row.output_refs.values()
        }
        return _Outcome(row.status, await with_lists(put_back(row, row.output_refs, large).output), row.error)

    async def _cancel(self, principal: Principal, wish: CallWish, execution_id: UUID) -> None:
        reason = "nobody waits for the call any more"
        await self._engine.cancel(ExecutionId(execution_id), principal.tenant_id, principal.by, reason, wish.trace_id)


async def _read_to_end(following: Any) -> None:
    while True:
        try:
            await following(30.0)
        except StopAsyncIteration:
            return


def _require_callable(task: DraftTask) -> None:
    if task.kind != "langgraph":
        raise broken(f"Task {task.task_id} is not a langgraph task", task_id=task.task_id)


def _result(outcome: _Outcome, execution_id: UUID) -> Any:
    """What the call gave. Raises what it failed with."""
    run_id = str(execution_id)
    if outcome.status == Status.SUCCEEDED:
        return outcome.output.get("result") if isinstance(outcome.output, dict) else outcome.output
    error = outcome.error if isinstance(outcome.error, dict) else {}
    code, message = str(error.get("code") or "TASK_FAILED"), str(error.get("message") or "")
    if outcome.status == Status.CANCELLED:
        raise conflict("STATE_CONFLICT", f"Run {run_id} was cancelled", run_id=run_id)
    if code == "TIMEOUT":
        message = f"The call took longer than {LONGEST:.0f} s"
        raise InterlockError(ErrorKind.TIMEOUT, "TIMEOUT", message, details={"run_id": run_id})
    if code == "RESULT_NOT_JSON":
        raise rule_broken("RESULT_NOT_JSON", message or "The result is not JSON", run_id=run_id)
    told = f"Task failed: {code}: {message}"
    raise InterlockError(ErrorKind.INTERNAL, "TASK_FAILED", told, details={"run_id": run_id, "error_type": code})
