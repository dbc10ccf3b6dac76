"""Medians of the rounds as Markdown, and their place in RESULTS.md."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from benchmarks.goals import GOALS, PEERS, Goal
from benchmarks.rows import Row, Run
from benchmarks.workloads import LOADS

BEGIN, END = "<!-- bench:begin -->", "<!-- bench:end -->"
NOISY_CORES = 0.5
_TITLES = {"interlock": "Interlock", **PEERS}
_ORDER = [load.key for load in LOADS]
_UNITS = {"shared_buffers": "shared_buffers, 8 KiB pages", "max_wal_size": "max_wal_size, MB"}
_HOW = """\
Closed loop, the systems in turn within every round, each alone on the machine on fresh data; every result is checked.
Medians of the rounds, [min..max]. CPU is user and system time of server and database per durable step, all their
children included. Interlock and Restate are called over HTTP by a separate client, whose CPU is apart; DBOS is a
library and works inside its driver, so its client has no figure of its own. Restate keeps its own log and uses no
Postgres; its W2 runs as 1,000 steps of one invocation (`fan_runs`) and as 1,000 invocations (`fan_calls`), and the
better one counts. A row is left out where anything else on the machine used more than 0.5 core meanwhile ("rounds" says
how many counted).
"""


@dataclass(frozen=True)
class Group:
    """The valid rows of one load on one system in one variant, noisy ones left out unless there are no others."""

    system: str
    variant: str
    key: str
    rows: tuple[Row, ...]
    measured: int
    noisy: bool

    def median(self, figure: str) -> float:
        """The median of one figure."""
        return median(self._values(figure))

    def spread(self, figure: str) -> str:
        """`median [min..max]`, or a dash where there is no such figure."""
        values = self._values(figure)
        if not values:
            return "-"
        return f"{_number(median(values))} [{_number(min(values))}..{_number(max(values))}]"

    def _values(self, figure: str) -> list[float]:
        found = (getattr(row, figure) for row in self.rows)
        return [float(value) for value in found if value is not None]


def grouped(rows: Iterable[Row]) -> list[Group]:
    """Rows by system, variant and load, in the order they were first measured."""
    together: dict[tuple[str, str, str], list[Row]] = {}
    for row in rows:
        if row.valid:
            together.setdefault((row.system, row.variant, row.key), []).append(row)
    groups = []
    for (system, variant, key), all_rows in together.items():
        quiet = [row for row in all_rows if row.others_cores <= NOISY_CORES]
        groups.append(Group(system, variant, key, tuple(quiet or all_rows), len(all_rows), noisy=not quiet))
    return groups


def markdown(run: Run, rows: Sequence[Row]) -> str:
    """The whole report: what was run on what, the goals, all figures, Postgres settings, failures."""
    groups = grouped(rows)
    parts = [_head(run), _goal_table(groups), _figure_table(groups), _settings_table(run), _failures(rows)]
    return "\n".join(part for part in parts if part)


def write_between_marks(file: Path, text: str) -> None:
    """Replace what stands between the two marks of `file`. ValueError if they are not there."""
    before, begin, rest = file.read_text().partition(BEGIN)
    _old, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"{file.name} lacks the marks {BEGIN} and {END} between which the figures go")
    file.write_text(f"{before}{BEGIN}\n{text}{END}{after}")


def _head(run: Run) -> str:
    machine = ", ".join(f"{name} {value}" for name, value in run.machine.items())
    versions = ", ".join(f"{name} {value}" for name, value in run.versions.items())
    size = f"{run.rounds} round{'s' if run.rounds > 1 else ''}" + (
        ", quick (a third of the executions: indications only)" if run.quick else ""
    )
    lines = [f"Measured {run.started}; {size}.", f"Machine: {machine}.", f"Versions: {versions}.", "", _HOW]
    if run.note:
        lines.append(f"Note: {run.note}.\n")
    return "\n".join(lines)


def _goal_table(groups: Sequence[Group]) -> str:
    rows = [_goal_row(goal, groups) for goal in GOALS]
    columns = ["what", "Interlock", *PEERS.values(), *(f"vs {title}" for title in PEERS.values()), "goal", "reached"]
    return "### Goals\n\n" + _table([*columns, "floor", "held"], rows)


def _goal_row(goal: Goal, groups: Sequence[Group]) -> list[str]:
    ours, theirs = _best(goal, "interlock", groups), {peer: _best(goal, peer, groups) for peer in PEERS}
    factors = {
        peer: goal.factor(ours.median(goal.figure), group.median(goal.figure))
        for peer, group in theirs.items()
        if ours is not None and group is not None
    }
    measured = [_measured(goal, group) for group in (ours, *theirs.values())]
    ratios = [_ratio(factors[peer], goal.more_is_better) if peer in factors else "-" for peer in PEERS]
    noisy = {peer for peer, group in theirs.items() if (group and group.noisy) or (ours and ours.noisy)}
    verdicts = [
        cell for wanted in (goal.goal, goal.floor) for cell in (goal.wanted(wanted), _verdict(wanted, factors, noisy))
    ]
    return [goal.title, *measured, *ratios, *verdicts]


def _best(goal: Goal, system: str, groups: Sequence[Group]) -> Group | None:
    """The system's best variant, among the quiet ones if there are any: a peer is given its strongest shape."""
    found = [group for group in groups if group.system == system and group.key == goal.load]
    candidates = [group for group in found if not group.noisy] or found
    if not candidates:
        return None
    choose = max if goal.more_is_better else min
    return choose(candidates, key=lambda group: group.median(goal.figure))


def _measured(goal: Goal, group: Group | None) -> str:
    if group is None:
        return "-"
    return f"{_number(group.median(goal.figure))} {goal.unit}" + (" (noisy)" if group.noisy else "")


def _verdict(wanted: Mapping[str, float], factors: Mapping[str, float], noisy: set[str]) -> str:
    """Yes or no, with a warning where one side was only ever measured beside other load."""
    if any(peer not in factors for peer in wanted):
        return "not measured"
    reached = all(factors[peer] >= factor for peer, factor in wanted.items())
    return ("yes" if reached else "**no**") + (" (noisy)" if noisy & set(wanted) else "")


def _ratio(factor: float, more_is_better: bool) -> str:
    if more_is_better:
        return f"{_number(factor)} x"
    return f"1/{_number(factor)}" if factor >= 1 else f"{_number(1 / factor)} x"


def _figure_table(groups: Sequence[Group]) -> str:
    columns = ["load", "system", "steps/s", "p50 ms", "p99 ms", "CPU ms/step", "client CPU ms/step", "others, cores"]
    figures = ("steps_per_s", "p50_ms", "p99_ms", "cpu_ms_per_step", "client_cpu_ms_per_step", "others_cores")
    rows = []
    for group in sorted(groups, key=lambda group: _ORDER.index(group.key)):
        name = _TITLES[group.system] + (f" `{group.variant}`" if group.variant else "")
        kept = f"{len(group.rows)} of {group.measured}" + (" (all noisy)" if group.noisy else "")
        rows.append([group.key, name, *(group.spread(figure) for figure in figures), kept])
    return "### Figures\n\n" + _table([*columns, "rounds"], rows)


def _settings_table(run: Run) -> str:
    """Postgres side by side: a comparison is fair only if version and durability agree."""
    columns = {system: settings for system, settings in run.postgres.items() if settings}
    if not columns:
        return ""
    names = list(next(iter(columns.values())))
    rows = [[_UNITS.get(name, name), *(settings.get(name, "-") for settings in columns.values())] for name in names]
    differing = [name for name in names if len({settings.get(name) for settings in columns.values()}) > 1]
    verdict = ""
    if len(columns) > 1:
        verdict = (
            f"\nDiffering: {', '.join(differing)}.\n" if differing else "\nThe same version and settings for all.\n"
        )
    return "### Postgres\n\n" + _table(["setting", *(_TITLES[system] for system in columns)], rows) + verdict


def _failures(rows: Sequence[Row]) -> str:
    failed = [row for row in rows if not row.valid]
    if not failed:
        return ""
    lines = [
        f"- round {row.round}, {_TITLES[row.system]} {row.key}: {row.failed} failed; {_gist(row.error or '')}"
        for row in failed
    ]
    return "### Failures (not counted above)\n\n" + "\n".join(lines) + "\n"


def _gist(text: str) -> str:
    """First and last line of an error: what was wanted, and the program's own last word."""
    lines = [line for line in text.splitlines() if line.strip()]
    return " ... ".join(dict.fromkeys(line.strip()[:200] for line in (lines[:1] + lines[-1:])))


def _table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = ["| " + " | ".join(cells) + " |" for cells in (columns, ["---"] * len(columns), *rows)]
    return "\n".join(lines) + "\n"


def _number(value: float) -> str:
    """Three significant digits, thousands with a comma."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
