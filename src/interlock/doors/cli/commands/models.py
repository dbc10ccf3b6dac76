"""Commands about models: which there are, what one costs, and what may be spent on them."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from interlock.core.errors import ErrorKind
from interlock.core.principal import LOCAL_TENANT
from interlock.doors.cli.calling import caller_of, carry_out_async
from interlock.doors.cli.failures import DONE, failure
from interlock.doors.cli.model_tables import budget_line, budgets_table, models_table, price_lines
from interlock.doors.cli.options import AsJson, TenantOption, Url
from interlock.doors.cli.output import Output
from interlock.doors.cli.server import segment

HolderArgument = Annotated[
    str,
    typer.Argument(
        metavar="HOLDER",
        help="tenant, an API key by its id or public id, or a person by id or e-mail address.",
        show_default=False,
    ),
]
Dollars = Annotated[
    float, typer.Argument(metavar="USD", min=0, help="What may be spent altogether.", show_default=False)
]


def list_models(context: typer.Context, url: Url = None, as_json: AsJson = False) -> None:
    """List the models that providers name, with their prices."""
    output = Output(as_json=as_json)

    async def work() -> int:
        async with caller_of(context).server(url) as server:
            found = await server.get("/models")
        output.json(found)
        models = found.get("models") or []
        if models:
            output.show(models_table(models))
        else:
            output.line("No provider names a model; one may take any name. See `interlock models price NAME`.")
        return DONE

    carry_out_async(output, work)


def price(
    context: typer.Context,
    model: Annotated[str, typer.Argument(metavar="MODEL", help="Name of a model.", show_default=False)],
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """Show what a model costs, and who serves it."""
    output = Output(as_json=as_json)

    async def work() -> int:
        async with caller_of(context).server(url) as server:
            found = (await server.get("/models", name=model)).get("models") or []
        if not found:
            step = "See the models with `interlock models list`."
            raise failure(ErrorKind.NOT_FOUND, "MODEL_NOT_FOUND", f"No provider serves the model {model}", step)
        output.json(found[0])
        for line in price_lines(found[0]):
            output.line(line)
        return DONE

    carry_out_async(output, work)


def list_budgets(
    context: typer.Context, tenant: TenantOption = LOCAL_TENANT, url: Url = None, as_json: AsJson = False
) -> None:
    """List who may spend how much on models, and what was spent."""
    output = Output(as_json=as_json)

    async def work() -> int:
        async with caller_of(context).administrator(url, tenant) as server:
            found = await server.get("/budgets")
        output.json(found)
        budgets = found.get("budgets") or []
        if budgets:
            output.show(budgets_table(budgets))
        else:
            output.line("There are no budgets: nothing limits what is spent. Set one with `interlock budgets set`.")
        return DONE

    carry_out_async(output, work)


def set_budget(
    context: typer.Context,
    holder: HolderArgument,
    cap: Dollars,
    tenant: TenantOption = LOCAL_TENANT,
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """Say how many US dollars a holder may spend on models altogether."""
    output = Output(as_json=as_json)

    async def work() -> int:
        body: dict[str, Any] = {"cap_usd": cap}
        async with caller_of(context).administrator(url, tenant) as server:
            budget = await server.put(f"/budgets/{segment(holder)}", body)
        output.json(budget)
        output.line(budget_line(budget))
        return DONE

    carry_out_async(output, work)


def remove_budget(
    context: typer.Context,
    holder: HolderArgument,
    tenant: TenantOption = LOCAL_TENANT,
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """Lift a budget; what was spent of it is forgotten."""
    output = Output(as_json=as_json)

    async def work() -> int:
        async with caller_of(context).administrator(url, tenant) as server:
            answer = await server.delete(f"/budgets/{segment(holder)}")
        output.json(answer)
        output.line("Removed. Within 5 s no process keeps to it.")
        return DONE

    carry_out_async(output, work)
