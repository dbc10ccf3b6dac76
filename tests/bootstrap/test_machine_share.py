"""What of a machine the tasks of one process get."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from interlock.bootstrap.placing import capacity_of, share_of
from interlock.config import known_names, load, worker_environment
from interlock.core.worker import Capacity


@pytest.fixture(autouse=True)
def _bare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in known_names():
        monkeypatch.delenv(name, raising=False)


def test_one_process_has_all_of_it_and_four_cores_at_least() -> None:
    found = share_of(load())
    assert found == capacity_of(load())
    assert found.cpu == max(4, os.cpu_count() or 1)
    assert found.memory > 100


def test_several_share_it_and_each_has_one_core_at_least() -> None:
    assert share_of(load(task_cpu=10.0, task_memory=100.0, processes=3)) == Capacity(cpu=3, memory=33)
    assert share_of(load(task_cpu=2.0, task_memory=100.0, processes=4)) == Capacity(cpu=1, memory=25)
    assert worker_environment(load(), 8000, 4)["INTERLOCK_PROCESSES"] == "4"
