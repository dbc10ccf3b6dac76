from __future__ import annotations

import inspect
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from interlock.nodes.testing import KeptServices, make_attempt, run_node
from interlock.nodes.transform.node import NODE
from interlock.nodes.transform.pick import pick
from interlock.ports.node import Done, NodeFailed

SOURCE = {"items": [{"name": "pen"}, {"name": None}], "a b": {"x.y": 1}, "0": "zero"}


def _transform(parameters: dict[str, Any]) -> Done:
    outcome = run_node(NODE, parameters)
    assert isinstance(outcome, Done)
    return outcome


@pytest.mark.parametrize("mapping", [{"a": [1, 2]}, [1], "text", 0, None, False])
def test_a_mapping_is_the_output(mapping: Any) -> None:
    assert _transform({"mapping": mapping}).output == mapping
    assert _transform({"mapping": mapping}).blackboard == {}


def test_run_is_plain_so_that_no_task_is_made_for_it() -> None:
    assert not inspect.iscoroutinefunction(NODE.run)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("items[0].name", "pen"),
        ("$.items[0].name", "pen"),
        ("items.0.name", "pen"),
        ("items[1].name", None),
        ("$", SOURCE),
        ("", SOURCE),
        (None, SOURCE),
        ("$['a b'][\"x.y\"]", 1),
        ("a b", {"x.y": 1}),
        ("0", "zero"),
    ],
)
def test_a_path_picks_a_value_out_of_the_source(path: str | None, value: Any) -> None:
    assert _transform({"source": SOURCE, "extract_path": path}).output == {"extracted": value}


@pytest.mark.parametrize("path", ["items[2].name", "items.-1", "nothing", "items[0].name.more", "a.b", "items.name"])
def test_a_place_that_is_not_there_is_source_not_found(path: str) -> None:
    with pytest.raises(NodeFailed) as caught:
        _transform({"source": SOURCE, "extract_path": path})
    assert caught.value.code == "SOURCE_NOT_FOUND"
    assert path in caught.value.message


def test_a_missing_source_is_source_not_found() -> None:
    with pytest.raises(NodeFailed) as caught:
        _transform({"source": None, "extract_path": "a"})
    assert caught.value.code == "SOURCE_NOT_FOUND"


@pytest.mark.parametrize("path", ["a..b", "items[x]", "items[", "a]", 7, "x" * 1001, "items[-1]"])
def test_a_path_that_cannot_be_read_is_said_so(path: Any) -> None:
    with pytest.raises(NodeFailed) as caught:
        _transform({"source": SOURCE, "extract_path": path})
    assert caught.value.code == "PARAMETER_INVALID"


def test_the_output_key_keeps_the_value_on_the_blackboard() -> None:
    assert _transform({"mapping": {"a": 1}, "output_key": "k"}).blackboard == {"k": {"a": 1}}
    assert _transform({"source": [7], "extract_path": "[0]", "output_key": "k"}).blackboard == {"k": 7}


@given(st.lists(st.text(st.characters(exclude_characters=".[]'\"", codec="utf-8"), min_size=1), max_size=6), st.none())
def test_every_place_of_nested_objects_is_found_by_its_path(keys: list[str], leaf: None) -> None:
    value: Any = "leaf"
    for key in reversed(keys):
        value = {key: value}
    assert pick(value, "$" + "".join(f".{key}" for key in keys), "it") == "leaf"


def test_the_services_are_not_touched() -> None:
    assert NODE.run(make_attempt(NODE, {"mapping": 1}), None).output == 1  # type: ignore[arg-type]  # on purpose


def test_picks_from_the_blackboard_and_keeps_what_it_picked_there() -> None:
    told = {"source_artifact": "order", "extract_path": "$.items[0].name"}
    attempt = msgspec.structs.replace(make_attempt(NODE, told), blackboard={"order": {"items": [{"name": "pen"}]}})
    outcome = NODE.run(attempt, KeptServices())
    assert outcome.output == {"extracted": "pen"}
    assert outcome.blackboard == {"transform_result": "pen"}


def test_a_missing_artifact_fails() -> None:
    with pytest.raises(NodeFailed) as failed:
        run_node(NODE, {"source_artifact": "order"})
    assert failed.value.code == "SOURCE_NOT_FOUND"
    assert str(failed.value) == "The key 'order' of the blackboard is missing or null"


def test_a_template_is_given_as_it_was_rendered() -> None:
    outcome = run_node(NODE, {"template": "Hello Ann", "output_key": "greeting"})
    assert isinstance(outcome, Done)
    assert outcome.output == {"extracted": "Hello Ann"}
    assert outcome.blackboard == {"greeting": "Hello Ann"}
