"""What the report says: medians without noisy rows, verdicts only where both peers were measured."""

from __future__ import annotations

from pathlib import Path

import pytest
from benchmarks.goals import GOALS
from benchmarks.report import BEGIN, END, grouped, markdown, write_between_marks
from benchmarks.rows import Row, Run, append, read
from benchmarks.workloads import FAN_STEPS, LOADS, chain_definition, fan_definition, shape_of

RUN = Run(started="2026-01-01 00:00 UTC", machine={"cores": "2"}, rounds=1)


def _row(
    system: str, rate: float, *, others: float = 0.0, workload: str = "W1", drivers: int = 50, **more: object
) -> Row:
    known = {"executions": 10, "steps_per_s": rate, "p50_ms": 1000 / rate, "cpu_ms_per_step": 100 / rate, **more}
    return Row(1, system, "", workload, drivers, others_cores=others, **known)  # type: ignore[arg-type]


def _line(text: str, start: str) -> str:
    return next(line for line in text.splitlines() if line.startswith(start))


def test_noisy_rows_are_left_out_of_the_median() -> None:
    rows = [_row("dbos", 200), _row("dbos", 220), _row("dbos", 20, others=0.9)]
    (group,) = grouped(rows)
    assert (group.median("steps_per_s"), len(group.rows), group.measured, group.noisy) == (210, 2, 3, False)


def test_rows_that_are_all_noisy_still_count_but_are_marked() -> None:
    text = markdown(RUN, [_row("dbos", 200, others=0.9)])
    assert "1 of 1 (all noisy)" in text


def test_a_goal_is_reached_when_both_factors_are() -> None:
    rows = [_row("interlock", 6_000), _row("dbos", 200), _row("restate", 1_000)]
    assert "| 30 x | 6 x | >= 30 x DBOS, >= 6 x Restate | yes |" in _line(markdown(RUN, rows), "| W1 chain of 10, c=50")


def test_a_verdict_on_noisy_figures_says_so() -> None:
    rows = [_row("interlock", 6_000), _row("dbos", 200, others=0.9), _row("restate", 1_000)]
    line = _line(markdown(RUN, rows), "| W1 chain of 10, c=50")
    assert "200 steps/s (noisy)" in line and "| yes (noisy) |" in line


def test_a_goal_missed_against_one_peer_is_not_reached_but_its_floor_may_hold() -> None:
    rows = [_row("interlock", 5_000), _row("dbos", 200), _row("restate", 1_000)]
    line = _line(markdown(RUN, rows), "| W1 chain of 10, c=50")
    assert "| **no** | >= 10 x DBOS, >= 2 x Restate | yes |" in line


def test_smaller_is_better_for_times() -> None:
    rows = [_row(system, rate, drivers=500) for system, rate in (("interlock", 100), ("dbos", 2), ("restate", 10))]
    assert "| 1/50 | 1/10 | <= 1/30 DBOS, <= 1/5 Restate | yes |" in _line(markdown(RUN, rows), "| W1 c=500")


def test_without_a_peer_there_is_no_verdict() -> None:
    line = _line(markdown(RUN, [_row("interlock", 5_000), _row("dbos", 10)]), "| W1 chain of 10, c=50")
    assert line.count("not measured") == 2


def test_failed_measurements_are_listed_and_not_counted() -> None:
    rows = [_row("interlock", 5_000, failed=3, error="status 500"), _row("interlock", 100)]
    text = markdown(RUN, rows)
    assert "- round 1, Interlock W1-c50: 3 failed; status 500" in text
    assert grouped(rows)[0].median("steps_per_s") == 100


def test_differing_postgres_settings_are_named() -> None:
    run = Run(started="", machine={}, postgres={"interlock": {"fsync": "off"}, "dbos": {"fsync": "on"}})
    assert "Differing: fsync." in markdown(run, [])


def test_the_report_replaces_only_what_stands_between_the_marks(tmp_path: Path) -> None:
    file = tmp_path / "RESULTS.md"
    file.write_text(f"before\n{BEGIN}\nold\n{END}\nafter\n")
    write_between_marks(file, "new\n")
    assert file.read_text() == f"before\n{BEGIN}\nnew\n{END}\nafter\n"


def test_a_file_without_marks_is_left_alone(tmp_path: Path) -> None:
    file = tmp_path / "RESULTS.md"
    file.write_text("mine")
    with pytest.raises(ValueError, match="lacks the marks"):
        write_between_marks(file, "new")
    assert file.read_text() == "mine"


def test_a_results_file_reads_back_as_it_was_written(tmp_path: Path) -> None:
    row = _row("dbos", 200)
    for line in (row, RUN):
        append(tmp_path / "r.jsonl", line)
    assert read(tmp_path / "r.jsonl") == (RUN, [row])


def test_every_goal_belongs_to_a_load_that_every_system_runs() -> None:
    keys = {load.key for load in LOADS}
    assert {goal.load for goal in GOALS} <= keys
    for system in ("interlock", "dbos", "restate"):
        assert all(shape_of(system, load, quick=True).executions > 0 for load in LOADS)


def test_the_definitions_are_a_chain_of_ten_and_a_fan_of_a_thousand() -> None:
    chain, fan = chain_definition(), fan_definition()
    assert isinstance(chain["connections"], list) and len(chain["connections"]) == 9
    assert isinstance(fan["nodes"], list) and fan["nodes"][0]["parameters"]["concurrency"] == FAN_STEPS
