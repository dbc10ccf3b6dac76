"""Maps and loops of graphs: which iterations run when, and what comes of them."""

from __future__ import annotations

import pytest

from interlock.core.commands import TaskSucceeded
from unit.engine_driver import Driver
from unit.test_engine_graph import edge, graph, node


def test_map_runs_its_body_per_item_within_its_concurrency_and_keeps_the_order() -> None:
    driver = Driver(
        graph(
            node("each", "map", parameters={"items": "{{ $json.items }}", "concurrency": 2}),
            node("body", parameters={"mapping": "{{ $json * 10 }}"}),
            node("sum", parameters={"mapping": "{{ sum($json) }}"}),
            edge("each", "body", port="iteration"),
            edge("each", "sum"),
        ),
        {"items": [1, 2, 3]},
    )
    assert driver.running() == ["each[0]/body", "each[1]/body"]
    driver.succeed("each[1]/body", 20)
    assert driver.running() == ["each[0]/body", "each[2]/body"]
    driver.check_fold()
    assert driver.run().output == 60


def test_map_over_batches_gives_lists_to_its_body() -> None:
    driver = Driver(
        graph(
            node("each", "map", parameters={"items": "{{ $json }}", "batch_size": 2}),
            node("body", parameters={"mapping": "{{ len($json) }}"}),
            edge("each", "body", port="iteration"),
        ),
        [1, 2, 3],
    )
    assert driver.run().output == [2, 1]


def test_map_of_nothing_completes_with_an_empty_list() -> None:
    parts = (node("each", "map", parameters={"items": []}), node("body"), edge("each", "body", port="iteration"))
    assert Driver(graph(*parts)).run().output == []


def test_map_of_something_that_is_no_list_fails_with_its_type() -> None:
    parts = (node("each", "map", parameters={"items": "text"}), node("body"), edge("each", "body", port="iteration"))
    driver = Driver(graph(*parts))
    assert driver.execution.error is not None
    assert driver.execution.error.code == "PARAMETER_INVALID"
    assert "str" in driver.execution.error.message


def test_loops_nest_and_see_the_nodes_around_them() -> None:
    driver = Driver(
        graph(
            node("start"),
            node("outer", "map", parameters={"items": [1, 2]}),
            node("inner", "map", parameters={"items": "{{ [$json, $json + 10] }}"}),
            node("leaf", parameters={"mapping": "{{ $json + $node['start'].result }}"}),
            edge("start", "outer"),
            edge("outer", "inner", port="iteration"),
            edge("inner", "leaf", port="iteration"),
        ),
        100,
    )
    assert driver.run().output == [[101, 111], [102, 112]]
    driver.check_fold()


@pytest.mark.parametrize("inside", [False, True], ids=["alone", "in another loop"])
def test_a_loop_that_is_given_up_leaves_nothing_of_its_iterations_behind(inside: bool) -> None:
    each = node("each", "map", parameters={"items": [1, 2, 3], "concurrency": 3}, deadline=5, on_error="continue")
    around = (node("around", "map", parameters={"items": [0]}), edge("around", "each", port="iteration"))
    driver = Driver(
        graph(
            *(around if inside else ()),
            *(each, node("body"), node("asked", "approval"), node("slow"), node("after")),
            edge("each", "body", port="iteration"),
            *(edge("body", "asked"), edge("each", "after")),
            *(() if inside else (edge("slow", "after"),)),
        )
    )
    below = "around[0]/" if inside else ""
    late = driver.execution.tasks[f"{below}each[0]/body"]
    driver.succeed(f"{below}each[1]/body")
    driver.pass_time(5)
    assert [task_id for task_id in driver.execution.tasks if "each[" in task_id] == []
    assert driver.apply(TaskSucceeded(task_id=late.task_id, attempt=late.attempt)).events == []
    driver.check_fold()
    assert driver.run().ended == "succeeded"
    assert not any(key for key in driver.execution.scopes if "each[" in key)


def test_while_loop_asks_its_condition_before_each_iteration() -> None:
    driver = Driver(
        graph(
            node("again", "loop", parameters={"while": "$json < 3", "max_iterations": 10}),
            node("add", parameters={"mapping": "{{ $json + 1 }}"}),
            edge("again", "add", port="iteration"),
        ),
        0,
    )
    assert driver.run().output == [1, 2, 3]


def test_counted_loop_runs_in_order() -> None:
    driver = Driver(
        graph(
            node("again", "loop", parameters={"times": 3}),
            node("body", parameters={"mapping": "{{ $loop.index }}"}),
            edge("again", "body", port="iteration"),
            edge("body", "again"),
        )
    )
    assert driver.running() == ["again[0]/body"]
    assert driver.run().output == [0, 1, 2]


def test_disabled_first_node_of_a_loop_passes_its_item_on() -> None:
    driver = Driver(
        graph(
            node("each", "map", parameters={"items": [1, 2]}),
            node("first", disabled=True, parameters={"mapping": "changed"}),
            edge("each", "first", port="iteration"),
        )
    )
    assert driver.execution.output == [1, 2]
