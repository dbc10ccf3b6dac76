"""Budgets as an administrator sees, sets and removes them."""

from __future__ import annotations

from collections.abc import Mapping

from interlock.core.errors import InterlockError, not_found, rule_broken
from interlock.core.models.prices import dollars
from interlock.core.principal import Principal, Scope
from interlock.kit.ids import Ids
from interlock.ports.models import Books, Budget
from interlock.services.models.holders import TENANT, FindHolders
from interlock.services.models.holds import Holds

MAX_DOLLARS = 1_000_000_000.0


class SetBudgets:
    """Budgets of the caller's tenant; all of it needs the scope ``admin``. Other processes know within 5 s."""

    def __init__(self, books: Books, holds: Holds, ids: Ids, holders: FindHolders) -> None:
        self._books = books
        self._holds = holds
        self._ids = ids
        self._holders = holders

    async def list(self, principal: Principal) -> list[Budget]:
        """All budgets of the tenant."""
        principal.require(Scope.ADMIN)
        return await self._books.list_budgets(principal.tenant_id)

    async def name_keys(self, principal: Principal) -> Mapping[str, str]:
        """The public ids of the tenant's keys by what its budgets call their holder."""
        return await self._holders.name_keys(principal)

    async def set(self, principal: Principal, reference: str, cap: float) -> Budget:
        """Let a holder spend ``cap`` US dollars altogether. What was spent counts.

        ``reference`` is an API key's id or public id, a person, or ``tenant``. Raises RULE for a cap that is no sum of
        money, HOLDER_NOT_FOUND.
        """
        principal.require(Scope.ADMIN)
        if not 0 <= cap <= MAX_DOLLARS:
            raise rule_broken("VALIDATION_ERROR", f"cap_usd must be from 0 to {MAX_DOLLARS:.0f}", field="cap_usd")
        holder = await self._holders.find(principal, reference)
        budget = Budget(budget_id=self._ids.new(), tenant_id=principal.tenant_id, holder=holder, cap=dollars(cap))
        kept = await self._books.set_budget(budget)
        self._holds.forget(principal.tenant_id)
        return kept

    async def remove(self, principal: Principal, reference: str) -> str:
        """Lift a budget, and say whose it was; one that is set later begins at nothing.

        ``reference`` may also be the holder as ``list`` shows it, who need not be there any more. Raises
        BUDGET_NOT_FOUND, HOLDER_NOT_FOUND.
        """
        principal.require(Scope.ADMIN)
        holder = reference
        if reference == TENANT or not await self._books.remove_budget(principal.tenant_id, reference):
            holder = await self._holders.find(principal, reference)
            if not await self._books.remove_budget(principal.tenant_id, holder):
                raise _no_budget(reference)
        self._holds.forget(principal.tenant_id)
        return holder


def _no_budget(reference: str) -> InterlockError:
    message = f"{reference[:64]} has no budget"
    return not_found("BUDGET_NOT_FOUND", message, field="holder")
