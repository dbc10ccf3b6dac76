"""What models there are and what they cost, and what keys, people and the tenant may spend on them."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from msgspec import Meta

from interlock.core.models.prices import NANODOLLARS
from interlock.core.models.routing import Deployment
from interlock.core.principal import Scope
from interlock.doors.http.app.door import APP
from interlock.doors.http.plumbing.operation import Call, Handler, Operation, Policy, Reply
from interlock.doors.http.plumbing.replies import JsonReply
from interlock.ports.models import Budget
from interlock.services.models.budgets import MAX_DOLLARS
from interlock.services.models.holders import TENANT


class ModelsQuery(msgspec.Struct, kw_only=True):
    """``name``: only this model, also if no provider names it and one takes any name."""

    name: Annotated[str, Meta(min_length=1, max_length=256)] | None = None


class PricedModel(msgspec.Struct, kw_only=True):
    """A model and the provider that is asked first. Prices are US dollars for a million tokens; null: unknown."""

    name: str
    provider: str
    input_usd: float | None
    output_usd: float | None


class PricedModels(msgspec.Struct, kw_only=True):
    models: list[PricedModel]
    total_count: int


class CapBody(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """US dollars that may be spent altogether, from the first call on."""

    cap_usd: Annotated[float, Meta(ge=0, le=MAX_DOLLARS)]


class Budgeted(msgspec.Struct, kw_only=True):
    """``holder`` is ``tenant``, or the id of a key or a person; ``key`` is the public id of a key.

    ``held_usd`` is set aside for calls that are under way or about to come.
    """

    holder: str
    key: str | None
    cap_usd: float
    spent_usd: float
    held_usd: float


class BudgetsOfTenant(msgspec.Struct, kw_only=True):
    budgets: list[Budgeted]
    total_count: int


class BudgetLifted(msgspec.Struct, kw_only=True):
    success: bool
    message: str
    holder: str


async def list_models(call: Call[None, ModelsQuery]) -> Reply:
    """The models that the caller may use, by name."""
    relayed, name = call.services.models.relay, call.query.name
    found = relayed.offered(call.principal) if name is None else relayed.find(call.principal, name)
    return JsonReply(PricedModels(models=[_model(one) for one in found], total_count=len(found)))


async def list_budgets(call: Call[None, None]) -> Reply:
    """All budgets of the tenant."""
    budgets = call.services.budgets
    found, keys = await budgets.list(call.principal), await budgets.name_keys(call.principal)
    answer = [_budget(one, keys.get(one.holder)) for one in found]
    return JsonReply(BudgetsOfTenant(budgets=answer, total_count=len(answer)))


async def set_budget(call: Call[CapBody, None]) -> Reply:
    """Set the cap of a holder: an API key by its id or public id, a person, or ``tenant``."""
    budget = await call.services.budgets.set(call.principal, call.path["holder"], call.body.cap_usd)
    call.acts_on(budget.holder or TENANT, f"cap_usd={call.body.cap_usd}")
    keys = await call.services.budgets.name_keys(call.principal)
    return JsonReply(_budget(budget, keys.get(budget.holder)))


async def remove_budget(call: Call[None, None]) -> Reply:
    """Lift the cap of a holder. What was spent is forgotten with it."""
    holder = await call.services.budgets.remove(call.principal, call.path["holder"]) or TENANT
    call.acts_on(holder)
    return JsonReply(BudgetLifted(success=True, message="The budget is removed", holder=holder))


def _model(deployment: Deployment) -> PricedModel:
    price = deployment.price
    return PricedModel(
        name=deployment.model,
        provider=deployment.provider,
        input_usd=None if price is None else price.input / NANODOLLARS,
        output_usd=None if price is None else price.output / NANODOLLARS,
    )


def _budget(budget: Budget, key: str | None) -> Budgeted:
    return Budgeted(
        holder=budget.holder or TENANT,
        key=key,
        cap_usd=budget.cap / NANODOLLARS,
        spent_usd=budget.spent / NANODOLLARS,
        held_usd=budget.leased / NANODOLLARS,
    )


def _operation(method: str, path: str, scope: Scope, summary: str, handler: Handler, **rest: Any) -> Operation:
    return Operation(
        method=method,
        path=path,
        door=APP,
        summary=summary,
        handler=handler,
        policy=Policy.USER,
        scope=scope,
        tags=("models",),
        **rest,
    )


MODELS: tuple[Operation, ...] = (
    _operation(
        "GET", "/models", Scope.MODELS_USE, "List the models", list_models, query=ModelsQuery, answer=PricedModels
    ),
    _operation("GET", "/budgets", Scope.ADMIN, "List the budgets", list_budgets, answer=BudgetsOfTenant),
    _operation(
        "PUT",
        "/budgets/{holder}",
        Scope.ADMIN,
        "Set a budget",
        set_budget,
        body=CapBody,
        answer=Budgeted,
        failures=(404,),
    ),
    _operation(
        "DELETE",
        "/budgets/{holder}",
        Scope.ADMIN,
        "Remove a budget",
        remove_budget,
        answer=BudgetLifted,
        failures=(404,),
    ),
)
