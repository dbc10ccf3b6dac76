"""Forms that the house itself shows to people."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


def question_form(
    *, title: str = "", description: str = "", options: Sequence[str] = (), fields: Sequence[dict[str, Any]] = ()
) -> dict[str, Any]:
    """The ``ui_schema`` of an approval: buttons, or a form where something may be filled in."""
    asked = {"title": title, "description": description, "options": [*options], "fields": [*fields]}
    shown = {name: value for name, value in asked.items() if value}
    return {"components": [{"type": "form" if fields else "action_buttons", "props": shown}]}
