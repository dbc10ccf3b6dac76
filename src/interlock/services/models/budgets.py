"""Budgets as an administrator sees and sets them."""

from __future__ import annotations

from interlock.core.errors import rule_broken
from interlock.core.models.prices import dollars
from interlock.core.principal import Principal, Scope
from interlock.kit.ids import Ids
from interlock.ports.models import Books, Budget
from interlock.services.models.holds import Holds

MAX_DOLLARS = 1_000_000_000.0


class SetBudgets:
    """Reads and sets the budgets of the caller's tenant; both need the scope ``admin``."""

    def __init__(self, books: Books, holds: Holds, ids: Ids) -> None:
        self._books = books
        self._holds = holds
        self._ids = ids

    async def list(self, principal: Principal) -> list[Budget]:
        """All budgets of the tenant."""
        principal.require(Scope.ADMIN)
        return await self._books.list_budgets(principal.tenant_id)

    async def set(self, principal: Principal, holder: str, cap: float) -> Budget:
        """Let ``holder`` (an API key's id or a person; empty: the tenant) spend ``cap`` US dollars altogether.

        What was spent counts. Other processes know within 5 s. Raises RULE for a cap that is no sum of money.
        """
        principal.require(Scope.ADMIN)
        if not 0 <= cap <= MAX_DOLLARS:
            raise rule_broken("VALIDATION_ERROR", f"cap_usd must be from 0 to {MAX_DOLLARS:.0f}", field="cap_usd")
        budget = Budget(budget_id=self._ids.new(), tenant_id=principal.tenant_id, holder=holder, cap=dollars(cap))
        kept = await self._books.set_budget(budget)
        self._holds.forget(principal.tenant_id)
        return kept
