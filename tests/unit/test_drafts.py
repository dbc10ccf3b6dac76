"""What may be said of the tasks of a draft, and the graph that is run of it."""

from __future__ import annotations

from typing import Any

import pytest

from interlock.core.definition.freeze_draft import freeze_call, freeze_draft
from interlock.core.draft import DraftTask, Retrying, SavedTask, TaskInput, read_resources, resolve
from interlock.core.errors import InterlockError
from interlock.core.resources import Resources
from interlock.core.workflow import Reference


def task(task_id: str, *inputs: TaskInput, **more: Any) -> DraftTask:
    saved = SavedTask(code="d" * 64, form="source", inputs=inputs, **more)
    return DraftTask(task_id=task_id, kind="code", name=f"name of {task_id}", saved=saved)


@pytest.mark.parametrize(
    ("told", "meant"),
    [
        ({}, Resources(cpu=1)),
        ({"cpu": 0.2}, Resources(cpu=1)),
        ({"cpu": 3, "cpu_mem": 5}, Resources(cpu=3, memory=5)),
        ({"gpu_mem": 4}, Resources(cpu=1, gpu=1, gpu_memory=4)),
        ({"gpu": 0.5, "gpu_mem": 4}, Resources(cpu=1, gpu=0.5, gpu_memory=4)),
    ],
)
def test_resources(told: dict[str, Any], meant: Resources) -> None:
    assert read_resources(told) == meant


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -0.1, "1", None, False])
def test_numbers_that_are_none(value: Any) -> None:
    with pytest.raises(InterlockError, match="Resource 'gpu' must be a number >= 0"):
        read_resources({"gpu": value})


@pytest.mark.parametrize(
    ("value", "meant"),
    [
        ("a.output.y", ("a", "y")),
        ("a.y", ("a", "y")),
        ("a.output", ("a", "output")),
        ("a.output.output.y", ("a", "output.y")),
        ("a.x.y", ("a", "x.y")),
        ("a.x.output.y", ("a", "x.output.y")),
    ],
)
def test_references(value: str, meant: tuple[str, str]) -> None:
    assert resolve("k", value, {"a"}) == meant


@pytest.mark.parametrize("value", [5, None, "", "b.y", ".y", {"a": 1}])
def test_references_to_nothing(value: Any) -> None:
    with pytest.raises(InterlockError, match="refers to unknown task"):
        resolve("k", value, {"a"})


def test_the_graph_of_a_draft() -> None:
    given = TaskInput(key="x", value="{{ 1 }}")
    read = TaskInput(key="y", source="a", source_key="z")
    tasks = [task("a", given), task("b", read, retry=Retrying(max_attempts=3), timeout=5.0)]
    graph = freeze_draft(tasks, [("a", "b"), ("gone", "b")], "queue")
    first, second = graph.nodes
    assert [(edge.source, edge.target) for edge in graph.connections] == [("a", "b")]
    assert (first.input, first.arguments) == ({"x": "{{ 1 }}"}, {})
    assert (second.input, second.arguments) == ({}, {"y": Reference(node="a", key="z")})
    assert first.parameters == {"code": "d" * 64, "form": "source", "function": "name of a"}
    assert (second.timeout, second.retry.max_attempts, second.retry.retry_on) == (5.0, 3, ("*",))
    assert {node.join for node in graph.nodes} == {"every"}
    assert (graph.settings.on_failure, graph.settings.over_ask) == ("continue", "queue")


def test_what_cannot_be_run() -> None:
    empty = DraftTask(task_id="e", kind="code", name="nothing")
    with pytest.raises(InterlockError, match="Task 'nothing' has no code"):
        freeze_draft([empty], [], None)
    lost = task("b", TaskInput(key="y", source="a", source_key="z"))
    with pytest.raises(InterlockError, match="Task 'name of b' refers to missing task 'a'"):
        freeze_draft([lost], [], None)


def test_tasks_that_are_called_are_no_part_of_a_run() -> None:
    called = DraftTask(task_id="c", kind="langgraph", name="tool", saved=SavedTask(code="d" * 64, form="pickle"))
    assert freeze_draft([called], [], None).nodes == ()
    (node,) = freeze_call(called, 600.0).nodes
    assert (node.name, node.timeout, node.arguments) == ("tool", 600.0, None)
    assert node.parameters["form"] == "pickle"
