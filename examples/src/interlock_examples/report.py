"""The report as Markdown. The same data gives the same text."""

from __future__ import annotations

import re
from typing import Any

Json = dict[str, Any]

_SPECIAL = re.compile(r"([\\`*_\[\]<>|#])")


def write_report(source: Json, summary: Json, flagged: Json, decision: Json | None) -> str:
    """The whole report. ``decision`` is the output of the approval, None if nobody had to be asked."""
    parts = [
        "# Airports of the United States",
        _opening(source, summary, flagged),
        _decided(flagged, decision),
        "![Airports by state, flagged ones marked](chart.svg)",
        "## Flagged, by reason",
        _table(("Reason", "Airports"), "l r", list(flagged["by_reason"].items())),
        "## Flagged airports",
        _table(("Code", "Airport", "State", "Why"), "l l l l", [_flagged_row(each) for each in flagged["flagged"]]),
        "## By state",
        "The centre is the median of the coordinates; distances are kilometres from it.",
        _states(summary["groups"], flagged["by_state"]),
    ]
    return "\n\n".join(parts) + "\n"


def _opening(source: Json, summary: Json, flagged: Json) -> str:
    sound, tidied, count = summary["sound"], summary["tidied"], flagged["count"]
    return (
        f"{summary['checked']:,} records were read from `{source['name']}` (sha256 `{source['sha256'][:16]}…`). "
        f"{sound:,} are sound by themselves, {tidied} were tidied, and {count} airports are flagged."
    )


def _decided(flagged: Json, decision: Json | None) -> str:
    if not decision:
        return f"{flagged['count']} flagged airports are within the limit: nobody had to be asked."
    reason = decision.get("reason")
    why = f", with the reason “{_cell(reason)}”" if reason else ""
    return f"A person looked at the flagged airports and approved this report{why}."


def _flagged_row(each: Json) -> tuple[Any, ...]:
    return each["code"], each["name"], each["state"] or "–", "; ".join(each["reasons"])


def _states(groups: list[Json], flagged_by_state: dict[str, int]) -> str:
    headings = ("State", "Airports", "Flagged", "Centre", "Usual distance", "Farthest airport")
    rows = [
        (
            group["state"],
            group["airports"],
            flagged_by_state.get(group["state"], 0),
            f"{group['latitude']:.2f}, {group['longitude']:.2f}",
            group["usual_km"],
            f"{group['farthest']}, {group['farthest_km']}",
        )
        for group in groups
    ]
    return _table(headings, "l r r r r r", rows)


def _table(headings: tuple[str, ...], sides: str, rows: list[tuple[Any, ...]]) -> str:
    """A Markdown table; ``sides`` has one letter per column, l or r."""
    rule = ["---:" if side == "r" else "---" for side in sides.split()]
    lines = [headings, rule, *([_cell(value) for value in row] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _cell(value: Any) -> str:
    """One line of plain text, whatever it holds."""
    return _SPECIAL.sub(r"\\\1", " ".join(str(value).split()))
