"""Taking over executions: read their log, fold it, and go on where it ends."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence
from uuid import UUID

import structlog

from interlock.core.commands import Signal
from interlock.core.engine.evolve import fold
from interlock.core.errors import InterlockError
from interlock.core.execution import Execution
from interlock.core.ids import ExecutionId
from interlock.ports.blobs import Blobs
from interlock.ports.ledger import Claimed, Head, Ledger, Loaded
from interlock.runtime.loads import Loads
from interlock.runtime.owned import Owned
from interlock.runtime.parked import LARGEST
from interlock.runtime.payloads import LargeValues, internalise, read_signals
from interlock.runtime.programs import Programs
from interlock.runtime.runner import Runner

log = structlog.get_logger("reading")


class Reading:
    """Reads executions this runner owns in the database but not yet in memory."""

    def __init__(self, ledger: Ledger, blobs: Blobs, programs: Programs, runner: Runner) -> None:
        self._ledger = ledger
        self._loads = Loads(ledger)
        self._blobs = blobs
        self._programs = programs
        self._runner = runner
        self._open: dict[UUID, asyncio.Task[None]] = {}
        self._tenants: Counter[str] = Counter()
        self.runner_id = 0

    @property
    def pending(self) -> int:
        """Executions being read now."""
        return len(self._open)

    def pending_of(self, tenant_id: str) -> int:
        """Executions of a tenant being read now, as far as the tenant was known before."""
        return self._tenants[tenant_id]

    def take_over(self, execution_id: UUID, tenant_id: str = "") -> asyncio.Task[None]:
        """Read an execution and resume it; a second call while it is being read joins the first."""
        task = self._open.get(execution_id)
        if task is None:
            task = asyncio.create_task(self._take_over(execution_id))
            self._open[execution_id] = task
            self._tenants[tenant_id] += 1
            task.add_done_callback(lambda _: self._done(execution_id, tenant_id))
        return task

    def _done(self, execution_id: UUID, tenant_id: str) -> None:
        del self._open[execution_id]
        self._tenants[tenant_id] -= 1
        if not self._tenants[tenant_id]:
            del self._tenants[tenant_id]

    def continue_parked(self, execution_id: UUID, tenant_id: str, epoch: int, signal: Signal) -> None:
        """Go on with an execution that a signal has just adopted: from memory if it was parked here, else read it."""
        owned = self._runner.parked.take(execution_id, epoch)
        if owned is None or execution_id in self._open or signal.inbox_seq != owned.folded + 1:
            self.take_over(execution_id, tenant_id)
        else:
            self._continue(owned, [signal])

    def continue_claimed(self, found: Claimed) -> None:
        """Go on with an execution that was just claimed: from memory if it was parked or queued here, else read it."""
        owned = self._runner.parked.take(found.execution_id, found.epoch)
        is_here = found.execution_id in self._runner.owned  # read back before the claim's answer came
        if owned is None or is_here or found.execution_id in self._open or found.inbox_seq != owned.folded:
            self.take_over(found.execution_id, found.tenant_id)
        else:
            self._continue(owned, [])

    def _continue(self, owned: Owned, signals: Sequence[Signal]) -> None:
        try:
            self._runner.continue_parked(owned, signals)
        except Exception:
            execution_id = owned.execution.execution_id
            log.exception("reading.failed", execution_id=str(execution_id))
            self._runner.spoil(execution_id)

    async def _take_over(self, execution_id: UUID) -> None:
        there = self._runner.owned.get(execution_id)
        if there is not None:  # what was heard of it before it was here may be news to it
            self._runner.read_inbox(there)
            return
        runner_id = self.runner_id
        try:
            loaded = await self._loads.get(execution_id)
            if loaded is None or loaded.owner != runner_id:
                return
            owned = await self._owned(loaded)
            signals = await self._unread(loaded)
        except InterlockError as error:
            # It stays owned in the database; the poll of owned executions tries again.
            log.error("reading.failed", execution_id=str(execution_id), code=error.code, reason=error.message)
            return
        except Exception:
            log.exception("reading.failed", execution_id=str(execution_id))
            return
        if self.runner_id != runner_id:
            return
        there = self._runner.owned.get(execution_id)
        if there is None:
            self._runner.resume(owned, signals)
        else:
            self._runner.read_inbox(there)

    async def _unread(self, loaded: Loaded) -> list[Signal]:
        """Signals nobody has folded yet."""
        if loaded.inbox_seq <= loaded.folded:
            return []
        found = await self._ledger.open_inbox(loaded.execution_id, loaded.folded)
        return await read_signals(found[1], loaded.tenant_id, self._blobs) if found is not None else []

    async def _owned(self, loaded: Loaded) -> Owned:
        program = self._programs.find(loaded.version_id)
        if program is None:
            program = self._programs.compile(loaded.version_id, await self._ledger.version(loaded.version_id))
        execution = Execution(ExecutionId(loaded.execution_id), program)
        large = LargeValues()
        fold(execution, await internalise(loaded, self._blobs, large, carries_parcels=program.carries_parcels))
        owned = Owned(
            execution,
            tenant_id=loaded.tenant_id,
            user_id=loaded.user_id,
            visibility=loaded.visibility,
            workflow_id=loaded.workflow_id,
            number=loaded.number,
            root_id=loaded.root_id,
            trace_id=loaded.events[-1].trace_id if loaded.events else loaded.trace_id,
            priority=loaded.priority,
        )
        owned.large = large if loaded.refs else None
        owned.folded, owned.epoch = loaded.folded, loaded.epoch
        owned.size = loaded.size + (LARGEST if loaded.refs else 0)
        owned.committed_seq = execution.seq
        owned.recorded_status, owned.recorded_reason = execution.status, execution.waiting_reason
        waiting = {task.child_id: task.task_id for task in execution.tasks.values()}
        owned.children = {waiting.get(child_id, str(child_id)): child_id for child_id in loaded.children}
        owned.questions = {
            task.task_id: task.approval_id
            for task in execution.tasks.values()
            if task.approval_id is not None and task.waits_for == "approval"
        }
        await self.find_children(owned)
        return owned

    async def find_children(self, owned: Owned) -> None:
        """Look up the sub-workflows a program names, so that deciding can start them at once."""
        heads: dict[str, Head] = {}
        for reference in owned.execution.program.children():
            head = await self._ledger.head_version(owned.tenant_id, reference, owned.user_id)
            if head is not None:
                heads[reference] = head
        if heads:
            self._runner.children.know(owned.execution.execution_id, heads)
