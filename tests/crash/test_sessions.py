"""The judge of sessions finds every way to tell a subscriber too little, too much or under a wrong name."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from crash.hooks import SCHEMA
from crash.sessions import _check_callbacks, _check_messages
from crash.verdict import Verdict

HAPPENED = [("e", 1), ("e", 2)]


class Log:
    """What the database says has happened."""

    async def fetch(self, statement: str, *arguments: Any) -> list[Any]:
        return HAPPENED


def stage_of(folder: Path, messages: list[tuple[str, str, int]], callbacks: list[tuple[str, int, str]] = ()) -> Any:
    with closing(sqlite3.connect(folder / "sink.db")) as connection:
        connection.executescript(SCHEMA)
        told = [(message, "t", execution, seq) for message, execution, seq in messages]
        connection.executemany(
            "insert into messages (message, type, execution, seq, arrived_at) values (?,?,?,?,0)", told
        )
        heard = [("e", step, 0, status, became) for step, status, became in callbacks]
        insert = "insert into callbacks (execution, step, is_late, sent_at, status, became) values (?,?,?,0,?,?)"
        connection.executemany(insert, heard)
        connection.commit()
    verdict = Verdict(scenario="A1", title="t", seed=1, scale="short")
    return SimpleNamespace(observer=Log(), directory=folder, verdict=verdict)


@pytest.mark.parametrize(
    ("messages", "broken"),
    [
        ([("m1", "e", 1), ("m2", "e", 2), ("m2", "e", 2)], []),
        ([("m1", "e", 1)], ["every subscribed event was told"]),
        ([("m1", "e", 1), ("m2", "e", 2), ("m3", "e", 3)], ["nothing was told that did not happen"]),
        ([("m1", "e", 1), ("m2", "e", 2), ("m3", "e", 2)], ["every event was told under one id"]),
        ([("m1", "e", 1), ("m1", "e", 2)], ["no id was used for two events"]),
    ],
)
async def test_messages(tmp_path: Path, messages: list[tuple[str, str, int]], broken: list[str]) -> None:
    stage = stage_of(tmp_path, messages)
    await _check_messages(stage, [])
    assert [check.name for check in stage.verdict.failures()] == broken


@pytest.mark.parametrize(
    ("callbacks", "broken"),
    [
        ([("ask", 200, "received"), ("ask", 200, "duplicate"), ("fetch", 200, "ignored")], []),
        (
            [("ask", 200, "received"), ("ask", 200, "received"), ("ask", 200, "ignored")],
            ["no callback was received twice"],
        ),
        (
            [("ask", 200, "received"), ("ask", 200, "ignored"), ("ask", 0, "no clear answer")],
            ["every callback got a clear answer"],
        ),
        ([("ask", 200, "received")], ["callbacks came in time, twice and too late"]),
    ],
)
def test_callbacks(tmp_path: Path, callbacks: list[tuple[str, int, str]], broken: list[str]) -> None:
    stage = stage_of(tmp_path, [], callbacks)
    _check_callbacks(stage)
    assert [check.name for check in stage.verdict.failures()] == broken
