"""What passes between a server and its child, in both forms."""

from __future__ import annotations

from uuid import UUID

import msgspec
import pytest

from interlock.backends.executor.frames import HEADER
from interlock.backends.executor.pool.bounds import MAX_SAID, is_fit
from interlock.backends.executor.pool.messages import Run, Store, Succeeded, frame, read_child, read_server
from interlock.core.commands import TaskSucceeded
from interlock.ports.node import Attempt

ATTEMPT = Attempt(
    execution_id=UUID(int=1),
    tenant_id="tenant",
    task_id="task",
    node_id="task",
    attempt=1,
    node_type="code",
    parameters={},
    timeout=1.0,
    trace_id="trace",
    code={"digest": b"\xff\0"},
)


@pytest.mark.parametrize("number", [1, -(2**63), 2**64, 10**400])
def test_whole_numbers_of_any_length_arrive(number: int) -> None:
    run = Run(attempt=msgspec.structs.replace(ATTEMPT, parameters={"x": [number, 1.0, "ä", None]}))
    assert read_server.decode(frame(run)[HEADER:]) == run


def test_files_are_taken_as_they_are_and_all_else_of_a_child_is_json() -> None:
    file = Store(call=1, name="a", content=b"x" * (MAX_SAID + 1), content_type="text/plain")
    said = frame(file)[HEADER:]
    assert len(said) < MAX_SAID + 100
    assert read_child.decode(said) == file
    assert is_fit(said)
    ending = frame(Succeeded(result=TaskSucceeded(task_id="task", attempt=1, output=[], duration_ms=1)))[HEADER:]
    assert ending.startswith(b"{")
    assert is_fit(ending)
    assert not is_fit(ending + b" " * MAX_SAID)
    assert not is_fit(b"\x82\xa3say\xa9succeeded\xa6result\x90")
