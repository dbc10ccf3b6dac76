"""``/v1/budgets``: what keys, people and the tenant may spend on models. Not OpenAI's; for administrators."""

from __future__ import annotations

from typing import Annotated

import msgspec

from interlock.core.models.prices import NANODOLLARS
from interlock.doors.http.plumbing.operation import Call, Reply
from interlock.doors.http.plumbing.replies import JsonReply
from interlock.ports.models import Budget
from interlock.services.models.budgets import MAX_DOLLARS
from interlock.services.models.holders import TENANT


class BudgetBody(msgspec.Struct, forbid_unknown_fields=True):
    """US dollars that may be spent altogether, from the first call on."""

    cap_usd: Annotated[float, msgspec.Meta(ge=0, le=MAX_DOLLARS)]


class BudgetObject(msgspec.Struct, omit_defaults=True):
    """A budget; ``held_usd`` is set aside for calls that are under way or about to come.

    ``holder`` is ``tenant``, or the id of a key or a person; ``key`` is the public id of a key.
    """

    holder: str
    cap_usd: float
    spent_usd: float
    held_usd: float
    key: str | None = None


class BudgetList(msgspec.Struct):
    data: list[BudgetObject]
    object: str = "list"


class RemovedBudget(msgspec.Struct):
    """A budget that is no more."""

    holder: str
    deleted: bool = True
    object: str = "budget"


async def list_budgets(call: Call[None, None]) -> Reply:
    """All budgets of the tenant."""
    budgets = call.services.budgets
    found, keys = await budgets.list(call.principal), await budgets.name_keys(call.principal)
    return JsonReply(BudgetList([_object(one, keys.get(one.holder)) for one in found]))


async def set_budget(call: Call[BudgetBody, None]) -> Reply:
    """Set the cap of a holder: an API key by its id or public id, a person, or ``tenant``."""
    call.acts_on(call.path["holder"], f"cap_usd={call.body.cap_usd}")
    budget = await call.services.budgets.set(call.principal, call.path["holder"], call.body.cap_usd)
    call.acts_on(budget.holder or TENANT, f"cap_usd={call.body.cap_usd}")
    return JsonReply(_object(budget))


async def remove_budget(call: Call[None, None]) -> Reply:
    """Lift the cap of a holder. What was spent is forgotten with it."""
    holder = await call.services.budgets.remove(call.principal, call.path["holder"]) or TENANT
    call.acts_on(holder)
    return JsonReply(RemovedBudget(holder))


def _object(budget: Budget, key: str | None = None) -> BudgetObject:
    return BudgetObject(
        holder=budget.holder or TENANT,
        cap_usd=budget.cap / NANODOLLARS,
        spent_usd=budget.spent / NANODOLLARS,
        held_usd=budget.leased / NANODOLLARS,
        key=key,
    )
