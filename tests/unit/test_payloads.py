"""Large values of events, taken out and put back: nothing is lost, nothing is referred to that is not stored."""

from __future__ import annotations

import hashlib
from typing import Any

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from interlock.core.events import TaskCompleted, TaskStarted
from interlock.core.large import put_back
from interlock.runtime.payloads import MAX_INLINE, LargeValues

SIZES = {"small": 1, "some": 900, "more": 5_000, "much": 20_000, "most": 40_000}
TEXTS = st.sampled_from(["", *SIZES])
VALUES = st.recursive(
    TEXTS | st.integers(0, 9) | st.none() | st.lists(TEXTS, max_size=3),
    lambda inner: st.dictionaries(st.sampled_from(["x", "y", "a/b", "~", ""]), inner, max_size=4),
    max_leaves=12,
)


@settings(deadline=None)
@given(values=st.lists(VALUES, min_size=1, max_size=4))
def test_what_is_taken_out_of_a_log_is_put_back_from_its_blobs(values: list[Any]) -> None:
    large, stored = LargeValues(), dict[str, Any]()
    grown_values = [grown(value) for value in values]
    for value in [*grown_values, *grown_values]:
        for event in (TaskStarted(task_id="t", node_id="n", input={"v": value}), completed(value)):
            taken = large.take_out(event)
            stored |= {hashlib.sha256(content).hexdigest(): msgspec.json.decode(content) for content in taken.blobs}
            assert len(taken.data) <= MAX_INLINE
            assert put_back(msgspec.json.decode(taken.data, type=type(event)), taken.refs, stored) == event


def grown(value: Any) -> Any:
    """The value with its texts as long as their names say."""
    if isinstance(value, dict):
        return {key: grown(item) for key, item in value.items()}
    if isinstance(value, list):
        return [grown(item) for item in value]
    return value * SIZES[value] if value in SIZES else value


def completed(value: Any) -> TaskCompleted:
    return TaskCompleted(task_id="t", node_id="n", output=value, blackboard={"kept": value})


def test_a_value_is_encoded_and_stored_once_wherever_it_goes() -> None:
    large, rows = LargeValues(), list(range(20_000))
    first = large.take_out(completed({"rows": rows}))
    again = large.take_out(TaskStarted(task_id="u", node_id="n", input={"deep": {"er": rows}}))
    assert len(first.blobs) == 1
    assert again.blobs == []
    assert again.refs == {"input/deep/er": first.refs["output/rows"]}
    equal = large.take_out(completed({"rows": list(rows)}))
    assert equal.blobs == []


def test_what_was_weighed_and_left_is_not_referred_to_later() -> None:
    large, text = LargeValues(), "x" * 5_000
    many = {f"key {number}": number for number in range(10_000)} | {"text": text}
    whole = large.take_out(completed(many))
    assert set(whole.refs) == {"output", "blackboard"} or set(whole.refs) == {"output"} | {"blackboard/kept"}
    later = large.take_out(completed({"text": text}))
    assert later.refs == {}
