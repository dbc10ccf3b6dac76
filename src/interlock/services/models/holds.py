"""Paying for calls: set aside before, settled after, every call a row of the ledger."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from uuid import UUID

import msgspec
import structlog

from interlock.core.errors import InterlockError, unavailable
from interlock.core.models.prices import FREE, Usage
from interlock.core.models.requests import ModelRequest
from interlock.core.models.routing import Deployment, priced
from interlock.core.principal import Principal
from interlock.kit.clock import Clock
from interlock.kit.ids import Ids
from interlock.ports.models import Answer, Books, Budget, CallRow
from interlock.ports.telemetry import CallOutcome, ModelTelemetry
from interlock.services.models.purse import LEASE_SECONDS, Purse
from interlock.services.models.writer import LedgerWriter

_KNOWN_SECONDS = 5.0
_KNOWN_MOST = 10_000
_REST_SECONDS = 60.0
_log = structlog.get_logger("interlock.models")


def holder_of(principal: Principal) -> str:
    """Whose budget a caller spends, within the tenant: the API key's, or a person's own."""
    key_id = principal.payer_id or principal.key_id
    return str(key_id) if key_id is not None else principal.subject


class Hold:
    """What is set aside for one call; settled once, also when it is told twice."""

    __slots__ = ("_holds", "_purse", "row")

    def __init__(self, holds: Holds, row: CallRow, purse: Purse | None) -> None:
        self._holds = holds
        self._purse = purse
        self.row: CallRow = row

    @property
    def is_limited(self) -> bool:
        """Whether a budget stands behind it."""
        return self._purse is not None

    def settle(
        self, deployment: Deployment | None, usage: Usage, outcome: CallOutcome = "succeeded"
    ) -> asyncio.Future[bool] | None:
        """Book what the call used; without a deployment nothing was asked of anybody.

        What comes back tells when the write is over; None if the call was settled before.
        """
        return self._settle(deployment, usage, outcome, None)

    async def settle_with(self, deployment: Deployment, usage: Usage, answer: Answer) -> None:
        """Book what the call used, and keep what was answered, in one commit; wait until that was tried once.

        If the database is away, both are written as soon as it is back.
        """
        writing = self._settle(deployment, usage, "succeeded", answer)
        if writing is not None:
            await asyncio.shield(writing)

    def _settle(
        self, deployment: Deployment | None, usage: Usage, outcome: CallOutcome, answer: Answer | None
    ) -> asyncio.Future[bool] | None:
        if self.row.status != "held":
            return None
        cost = 0 if deployment is None else (deployment.price or FREE).cost(usage)
        self.row = msgspec.structs.replace(
            self.row,
            status="settled",
            provider=deployment.provider if deployment else self.row.provider,
            model=deployment.model if deployment else self.row.model,
            cost=cost,
            input_tokens=usage.input_tokens,
            output_tokens=usage.output_tokens,
            is_estimated=usage.is_estimated,
        )
        if self._purse is not None and self.row.slice_id is not None:
            self._purse.settle(self.row.slice_id, self.row.estimate, cost)
        return self._holds.written(self.row, outcome, answer)


class Holds:
    """Holds of one process.

    Calls are counted by the names in ``named``, all others as ``other``.
    """

    def __init__(
        self,
        books: Books,
        clock: Clock,
        ids: Ids,
        telemetry: ModelTelemetry | None = None,
        named: frozenset[str] = frozenset(),
    ) -> None:
        self._telemetry = telemetry
        self._named = named
        self._books = books
        self._clock = clock
        self._ids = ids
        self._writer = LedgerWriter(books)
        self._purses: dict[tuple[UUID, ...], Purse] = {}
        self._early: dict[UUID, asyncio.Future[bool]] = {}  # by budget: the write that such a call's row goes with
        self._has_next: set[UUID] = set()  # budgets for which a call waits to be the next one
        self._known: dict[tuple[str, str], tuple[tuple[Budget, ...], float]] = {}

    async def stop(self) -> None:
        """Write what is left and return what was not spent."""
        try:
            await self._writer.flush()
            for purse in self._purses.values():
                await purse.give_back(all_of_them=True)
        except InterlockError as error:  # the leases run out by themselves
            _log.warning("models.budget_not_returned", reason=str(error))

    async def renew(self) -> None:
        """Keep the leases of this process alive; to be called every ten seconds. Raises UNAVAILABLE."""
        held = [slice_id for purse in self._purses.values() for slice_id in purse.slice_ids]
        now = self._clock.monotonic()
        alive = await self._books.renew(held, LEASE_SECONDS) if held else set()
        for of, purse in list(self._purses.items()):
            purse.renewed(held, alive, now)
            if purse.is_at_rest and now - purse.used_at > _REST_SECONDS:
                del self._purses[of]
                await purse.give_back()

    async def take(
        self, principal: Principal, request: ModelRequest, deployments: Sequence[Deployment], trace_id: str
    ) -> Hold:
        """Set aside what the call may cost. Raises BUDGET_EXCEEDED, MODEL_UNPRICED, UNAVAILABLE."""
        self._writer.require_room()
        budgets = await self.budgets_of(principal.tenant_id, holder_of(principal))
        if not budgets:
            return Hold(self, self._row(principal, request, deployments[0], trace_id, 0), None)
        estimate = estimate_of(request, priced(deployments))
        purse = self._purse(budgets)
        slice_id = await purse.reserve(estimate)
        paid_from = (budgets[0].budget_id, slice_id)
        hold = Hold(self, self._row(principal, request, deployments[0], trace_id, estimate, paid_from), purse)
        await self._enter(hold, budgets[-1].budget_id)
        return hold

    def written(self, row: CallRow, outcome: CallOutcome, answer: Answer | None) -> asyncio.Future[bool]:
        """Count a call that is over, and have its row written soon."""
        if self._telemetry is not None:
            model = row.model if row.model in self._named else "other"
            self._telemetry.model_called(model, outcome, row.input_tokens, row.output_tokens)
        return self._writer.add(row, answer)

    def forget(self, tenant_id: str) -> None:
        """The tenant's budgets were changed here."""
        for key in [key for key in self._known if key[0] == tenant_id]:
            del self._known[key]

    async def budgets_of(self, tenant_id: str, holder: str) -> tuple[Budget, ...]:
        """The budgets that limit a caller, as they were within the last 5 s."""
        now = self._clock.monotonic()
        found, until = self._known.get((tenant_id, holder), ((), 0.0))
        if until > now:
            return found
        found = await self._books.budgets_of(tenant_id, holder)
        if len(self._known) >= _KNOWN_MOST:
            self._known.clear()
        self._known[tenant_id, holder] = (found, now + _KNOWN_SECONDS)
        return found

    async def _enter(self, hold: Hold, budget_id: UUID) -> None:
        """Write the hold. One call at a time may be on its way before its row is there; others wait for theirs.

        One of all that spend ``budget_id``: a process that dies then leaves one unwritten, whoever else has a budget.
        """
        writing = self._writer.add(hold.row, is_urgent=True)
        try:
            early = self._early.get(budget_id)
            if early is not None and budget_id not in self._has_next:
                await self._next(budget_id, early)
            if budget_id not in self._early and not writing.done():
                self._begin_early(budget_id, writing)
                return
            is_written = await asyncio.shield(writing)
        except asyncio.CancelledError:
            hold.settle(None, Usage(), "cancelled")
            raise
        if not is_written:
            hold.settle(None, Usage(), "failed")
            raise unavailable("The ledger of model calls cannot be written now; try again")

    async def _next(self, budget_id: UUID, early: asyncio.Future[bool]) -> None:
        self._has_next.add(budget_id)
        try:
            await asyncio.shield(early)
        finally:
            self._has_next.discard(budget_id)

    def _begin_early(self, budget_id: UUID, writing: asyncio.Future[bool]) -> None:
        """No other call begins so until this one's row is written, however often that has to be tried."""
        self._early[budget_id] = writing

        def over(done: asyncio.Future[bool]) -> None:
            del self._early[budget_id]
            if not done.result() and self._writer.coming is not None:
                self._begin_early(budget_id, self._writer.coming)

        writing.add_done_callback(over)

    def _purse(self, budgets: tuple[Budget, ...]) -> Purse:
        """One for each set of budgets: what was leased before one of them was there is not spent after it."""
        of = tuple(budget.budget_id for budget in budgets)
        purse = self._purses.get(of)
        if purse is None:
            purse = self._purses[of] = Purse(budgets, self._books, self._writer, self._clock, self._ids)
        purse.budgets = budgets
        return purse

    def _row(
        self,
        principal: Principal,
        request: ModelRequest,
        deployment: Deployment,
        trace_id: str,
        estimate: int,
        paid_from: tuple[UUID | None, UUID | None] = (None, None),
    ) -> CallRow:
        return CallRow(
            call_id=self._ids.new(),
            tenant_id=principal.tenant_id,
            subject=principal.subject,
            budget_id=paid_from[0],
            slice_id=paid_from[1],
            provider=deployment.provider,
            model=deployment.model,
            kind=request.kind,
            status="held",
            estimate=estimate,
            trace_id=trace_id,
            at=self._clock.now(),
        )


def estimate_of(request: ModelRequest, deployments: Sequence[Deployment]) -> int:
    """The most that a call may cost at any of the deployments, which all have a price."""
    most = Usage(request.most_prompt, request.most_output)
    return max(deployment.price.cost(most) for deployment in deployments if deployment.price is not None)
