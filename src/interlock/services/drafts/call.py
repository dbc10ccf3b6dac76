"""Call a task of a draft with arguments that only the sandbox reads, and wait for what it gives."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Any

import msgspec

from interlock.core.code import RAISED
from interlock.core.definition.freeze_draft import freeze_call
from interlock.core.draft import DraftTask, broken
from interlock.core.errors import ErrorKind, InterlockError, conflict, rule_broken, unavailable
from interlock.core.events import ExecutionCancelled, decode_event
from interlock.core.execution import ENDED, Status
from interlock.core.ids import ExecutionId
from interlock.core.large import put_back
from interlock.core.principal import Principal, Scope
from interlock.core.workflow import Version
from interlock.kit.clock import Clock
from interlock.ports.blobs import Blobs
from interlock.ports.engine import Engine, Key, Standing, StartExecution, WorkflowChanged
from interlock.ports.executor import Ready
from interlock.ports.store import ExecutionRow, Store
from interlock.services.code.save import SaveCode
from interlock.services.drafts.find import reading, require_size, unknown_task, using
from interlock.services.drafts.run import require_executor, version_of
from interlock.services.drafts.waiting import Waiting
from interlock.services.executions.access import visible
from interlock.services.executions.shown import with_lists
from interlock.services.executions.watch import WatchExecutions

LONGEST = 600.0
"""Seconds a call may take."""
GRACE = 5.0
"""Seconds that a call under a key goes on while nobody waits: a client whose connection broke comes back at once."""
_ABANDONED = "nobody waits for the call any more"


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
    is_abandoned: bool


class CallTasks:
    """Call tasks; each call is a run of its own. It is cancelled once nobody waits for it any more.

    Under a key several may wait for one run, and who comes back finds it going on. One that was cancelled because
    nobody came in time is made anew for whoever asks for it later.
    """

    def __init__(
        self,
        store: Store,
        blobs: Blobs,
        engine: Engine,
        watch: WatchExecutions,
        save_code: SaveCode,
        clock: Clock,
        is_ready: Ready,
        grace: float = GRACE,
    ) -> None:
        self._is_ready = is_ready
        self._grace = grace
        self._waiting = Waiting()
        self._starting: set[asyncio.Task[Standing]] = set()
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
        key = wish.key
        while True:
            standing = await self._join(principal, _request(principal, wish, version, pickles, key))
            outcome = await self._wait(principal, wish, standing)
            if wish.key is None or not outcome.is_abandoned:
                break
            key = _anew(wish.key, standing)
        return Called(str(standing.execution_id), _result(outcome, standing.execution_id), standing.is_replay)

    async def _join(self, principal: Principal, request: StartExecution) -> Standing:
        """The run, for which the caller waits from now on; also one who leaves while it is started waits no longer."""
        starting = asyncio.create_task(self._start(request))
        self._starting.add(starting)
        starting.add_done_callback(self._starting.discard)
        try:
            standing = await asyncio.shield(starting)
        except asyncio.CancelledError:
            starting.add_done_callback(partial(self._leave_started, principal, request))
            raise
        self._waiting.join(standing.execution_id)
        return standing

    def _leave_started(self, principal: Principal, request: StartExecution, started: asyncio.Task[Standing]) -> None:
        if not started.cancelled() and started.exception() is None:
            execution_id = started.result().execution_id
            self._waiting.join(execution_id)
            self._leave(principal, request.key, request.trace_id, execution_id)

    async def _wait(self, principal: Principal, wish: CallWish, standing: Standing) -> _Outcome:
        execution_id = standing.execution_id
        try:
            outcome = await self._end(principal, standing)
        except BaseException:  # the caller left, or cannot be told how it ends
            giving_up = self._leave(principal, wish.key, wish.trace_id, execution_id)
            if giving_up is not None:
                await asyncio.shield(giving_up)
            raise
        self._waiting.hear(execution_id)
        return outcome

    def _leave(
        self, principal: Principal, key: Key | None, trace_id: str, execution_id: ExecutionId
    ) -> asyncio.Task[None] | None:
        give_up = partial(self._engine.cancel, execution_id, principal.tenant_id, principal.by, _ABANDONED, trace_id)
        return self._waiting.leave(execution_id, give_up, 0.0 if key is None else self._grace)

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

    async def _start(self, request: StartExecution) -> Standing:
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
        output = await with_lists(put_back(row, row.output_refs, large).output)
        is_abandoned = row.status == Status.CANCELLED and await self._is_abandoned(principal, row)
        return _Outcome(row.status, output, row.error, is_abandoned)

    async def _is_abandoned(self, principal: Principal, row: ExecutionRow) -> bool:
        """Whether a run was cancelled because nobody waited for it, and not by somebody who wanted it to end."""
        async with self._store.transaction(principal, read_only=True) as transaction:
            last = await transaction.events(row.execution_id, row.last_seq - 1, 1)
        ends = [decode_event(found.type, found.data) for found in last]
        return any(isinstance(end, ExecutionCancelled) and end.reason == _ABANDONED for end in ends)


def _request(
    principal: Principal, wish: CallWish, version: Version, pickles: dict[str, str], key: Key | None
) -> StartExecution:
    return StartExecution(
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
        key=key,
    )


def _anew(key: Key, abandoned: Standing) -> Key:
    """The key of the run in place of one that was given up: the same for all who ask again."""
    return msgspec.structs.replace(key, scope=f"{key.scope} after {abandoned.execution_id}")


async def _read_to_end(following: Any) -> None:
    while True:
        try:
            await following(30.0)
        except StopAsyncIteration:
            return


def _require_callable(task: DraftTask) -> None:
    if task.kind != "langgraph":
        raise broken(f"Task {task.task_id} is not a langgraph task", task_id=task.task_id)


def _result(outcome: _Outcome, execution_id: ExecutionId) -> Any:
    """What the call gave. Raises what it failed with."""
    run_id = str(execution_id)
    if outcome.status == Status.SUCCEEDED:
        return outcome.output.get("result") if isinstance(outcome.output, dict) else outcome.output
    error = outcome.error if isinstance(outcome.error, dict) else {}
    code, message = str(error.get("code") or "TASK_FAILED"), str(error.get("message") or "")
    if outcome.status == Status.CANCELLED:
        raise conflict("STATE_CONFLICT", f"Run {run_id} was cancelled", run_id=run_id)
    is_ours = RAISED not in error.get("details", {})
    if is_ours and code == "TIMEOUT":
        message = f"The call took longer than {LONGEST:.0f} s"
        raise InterlockError(ErrorKind.TIMEOUT, "TIMEOUT", message, details={"run_id": run_id})
    if is_ours and code == "RESULT_NOT_JSON":
        raise rule_broken("RESULT_NOT_JSON", message or "The result is not JSON", run_id=run_id)
    told = f"Task failed: {code}: {message}"
    raise InterlockError(ErrorKind.INTERNAL, "TASK_FAILED", told, details={"run_id": run_id, "error_type": code})
