"""The table in docs/reliability.md, between its markers."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from crash.verdict import Verdict

BEGIN = "<!-- figures: written by tests/crash/run.py -->"
END = "<!-- end of figures -->"


def write_figures(document: Path, verdicts: Sequence[Verdict]) -> None:
    """Replace what stands between the markers. Raises ValueError if a marker is missing."""
    text = document.read_text()
    if BEGIN not in text or END not in text:
        raise ValueError(f"{document} has no markers {BEGIN!r} and {END!r}")
    before, _, rest = text.partition(BEGIN)
    after = rest.partition(END)[2]
    document.write_text(before + BEGIN + "\n\n" + render(verdicts) + "\n" + END + after)


def render(verdicts: Sequence[Verdict]) -> str:
    """A sentence about the run and a row for each scenario."""
    first = verdicts[0]
    versions = ", ".join(f"{name} {number}" for name, number in sorted(first.versions.items()))
    minutes = sum(verdict.seconds for verdict in verdicts) / 60
    lines = [
        f"Run of {first.started_at}, scale `{first.scale}`, seed {first.seed}, commit {first.commit or 'unknown'},"
        f" {versions}; {minutes:.1f} minutes.",
        "",
        "| | scenario | faults that hit | counts | figures | verdict |",
        "|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {verdict.scenario} | {verdict.title} | {_listed(verdict.injections)} | {_listed(verdict.counts)} |"
        f" {_listed(verdict.figures)} | {verdict.word} |"
        for verdict in verdicts
    ]
    return "\n".join(lines) + "\n"


def _listed(found: dict[str, int] | dict[str, float]) -> str:
    return "<br>".join(f"{name.replace('_', ' ')} {value:g}" for name, value in found.items()) or "–"
