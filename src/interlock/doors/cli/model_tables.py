"""Models with their prices, and budgets, for people."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.table import Table

from interlock.doors.cli.tables import plain_table
from interlock.doors.cli.texts import shown

_UNKNOWN = "unknown"


def models_table(models: Sequence[Mapping[str, Any]]) -> Table:
    """Models with US dollars for a million tokens, one a line."""
    table = plain_table("Model", "Input USD/M", "Output USD/M", "Provider")
    for model in models:
        table.add_row(
            shown(model.get("name")),
            _amount(model.get("input_usd")),
            _amount(model.get("output_usd")),
            shown(model.get("provider")),
        )
    return table


def price_lines(model: Mapping[str, Any]) -> list[str]:
    """What one model costs."""
    served = f"{model.get('name')} is served by {model.get('provider')}."
    if model.get("input_usd") is None:
        return [served, "Its price is unknown, so whoever has a budget cannot use it."]
    paid = f"A million tokens of input cost {_amount(model['input_usd'])} USD, of output {_amount(model['output_usd'])}"
    return [served, f"{paid} USD."]


def budgets_table(budgets: Sequence[Mapping[str, Any]]) -> Table:
    """Budgets in US dollars, one a line; a key by its public id."""
    table = plain_table("Whose", "May spend USD", "Spent", "Set aside", "Left")
    for budget in budgets:
        cap, spent, held = (float(budget.get(name) or 0) for name in ("cap_usd", "spent_usd", "held_usd"))
        amounts = (_amount(one) for one in (cap, spent, held, max(0.0, cap - spent - held)))
        table.add_row(_holder(budget), *amounts)
    return table


def budget_line(budget: Mapping[str, Any]) -> str:
    """One budget as a sentence."""
    cap, spent = _amount(budget.get("cap_usd")), _amount(budget.get("spent_usd"))
    return f"Of {_holder(budget)}: {cap} USD altogether, {spent} USD of them are spent."


def _holder(budget: Mapping[str, Any]) -> str:
    return f"key {shown(budget['key'])}" if budget.get("key") else shown(budget.get("holder"))


def _amount(value: Any) -> str:
    """Dollars without needless digits."""
    if value is None:
        return _UNKNOWN
    return f"{float(value):.6f}".rstrip("0").rstrip(".")
