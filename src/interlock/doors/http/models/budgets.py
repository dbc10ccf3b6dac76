"""``/v1/budgets``: what keys, people and the tenant may spend on models. Not OpenAI's; for administrators."""

from __future__ import annotations

from typing import Annotated

import msgspec

from interlock.core.models.prices import NANODOLLARS
from interlock.doors.http.plumbing.operation import Call, Reply
from interlock.doors.http.plumbing.replies import JsonReply
from interlock.ports.models import Budget

TENANT = "tenant"
"""Stands for the holder of the tenant's own budget."""


class BudgetBody(msgspec.Struct, forbid_unknown_fields=True):
    """US dollars that may be spent altogether, from the first call on."""

    cap_usd: Annotated[float, msgspec.Meta(ge=0)]


class BudgetObject(msgspec.Struct):
    """A budget; ``held_usd`` is set aside for calls that are under way or about to come."""

    holder: str
    cap_usd: float
    spent_usd: float
    held_usd: float


class BudgetList(msgspec.Struct):
    data: list[BudgetObject]
    object: str = "list"


async def list_budgets(call: Call[None, None]) -> Reply:
    """All budgets of the tenant."""
    return JsonReply(BudgetList([_object(one) for one in await call.services.models.budgets.list(call.principal)]))


async def set_budget(call: Call[BudgetBody, None]) -> Reply:
    """Set the cap of a holder: an API key's id, a person, or ``tenant``."""
    holder = call.path["holder"]
    budget = await call.services.models.budgets.set(
        call.principal, "" if holder == TENANT else holder, call.body.cap_usd
    )
    return JsonReply(_object(budget))


def _object(budget: Budget) -> BudgetObject:
    return BudgetObject(
        holder=budget.holder or TENANT,
        cap_usd=budget.cap / NANODOLLARS,
        spent_usd=budget.spent / NANODOLLARS,
        held_usd=budget.leased / NANODOLLARS,
    )
