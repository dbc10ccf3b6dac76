"""Large values that nobody opens on the way: in messages, in the log, and as JSON that is checked and not read."""

from __future__ import annotations

import hashlib
from typing import Any
from uuid import UUID

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from interlock.backends.executor.frames import HEADER
from interlock.backends.executor.pool.messages import Run, Succeeded, frame, read_child, read_server
from interlock.core.commands import TaskSucceeded
from interlock.core.events import TaskCompleted, TaskStarted
from interlock.core.large import omitted, put_back
from interlock.core.parcel import Packed, Parcel, exchange
from interlock.kit import strict_json
from interlock.ports.node import Attempt
from interlock.runtime.payloads import MAX_INLINE, LargeValues, has_parcels

PACKED = st.builds(Packed, st.binary(max_size=40), st.sampled_from(["application/json", "x/y"]))
INNER = st.dictionaries(st.text(max_size=3), st.integers(0, 9) | PACKED, max_size=3)
OBJECTS = st.dictionaries(st.text(max_size=3), st.integers(0, 9) | PACKED | INNER, max_size=4)
DIGEST = hashlib.sha256(b"[1]").hexdigest()
BOUNDS = {"max_bytes": 1_000, "max_keys": 10}


def run(arguments: Any) -> Run:
    return Run(
        attempt=Attempt(
            execution_id=UUID(int=1),
            tenant_id="t",
            task_id="a",
            node_id="a",
            attempt=1,
            node_type="code",
            parameters={"arguments": arguments, "code": "0"},
            timeout=1.0,
            trace_id="",
            packs=True,
        )
    )


def succeeded(output: Any) -> Succeeded:
    return Succeeded(result=TaskSucceeded(task_id="a", attempt=1, output=output))


@given(OBJECTS | st.lists(OBJECTS, max_size=3))
def test_packed_values_arrive_as_they_were(value: Any) -> None:
    asked = read_server.decode(frame(run(value))[HEADER:])
    assert isinstance(asked, Run)
    assert asked.attempt.parameters == {"arguments": value, "code": "0"}
    told = read_child.decode(frame(succeeded(value))[HEADER:])
    assert isinstance(told, Succeeded)
    assert told.result.output == value


def test_no_message_is_read_whose_packed_values_do_not_fit() -> None:
    whole = frame(succeeded({"n": [1], "rows": Packed(b"[1]")}))[HEADER:]
    for broken in (
        whole[:-1],
        whole + b"x",
        whole[:5],
        whole.replace(b'["rows"]', b'["rowz"]'),
        whole.replace(b'"size":3', b'"size":-1'),
        whole.replace(b'["rows"]', b'[0,"rows"]'),
        whole.replace(b'["rows"]', b'["rows",0]'),
        whole.replace(b'["rows"]', b'["n",0]'),
        whole.replace(b'["rows"]', b"[]"),
        whole.replace(b'"succeeded"', b'"printed","stream":"stdout","text":""'),
    ):
        with pytest.raises(msgspec.MsgspecError):
            read_child.decode(broken)


def test_parcels_never_stand_in_the_log() -> None:
    large, parcel = LargeValues(), Parcel(DIGEST)
    many = {f"k{number}": number for number in range(9_000)}
    for event in (
        TaskCompleted(task_id="t", node_id="n", output={"rows": parcel, "n": 1}),
        TaskCompleted(task_id="t", node_id="n", output={"rows": parcel, **many}),
        TaskStarted(task_id="t", node_id="n", input={"code": "0", "arguments": {"rows": parcel, "more": many}}),
    ):
        assert has_parcels(event)
        taken = large.take_out(event)
        assert len(taken.data) <= MAX_INLINE
        stored = {hashlib.sha256(content).hexdigest(): msgspec.json.decode(content) for content in taken.blobs}
        back = put_back(msgspec.json.decode(taken.data, type=type(event)), taken.refs, stored | {DIGEST: parcel})
        assert back == event
        shown = put_back(msgspec.json.decode(taken.data, type=type(event)), taken.refs, {})
        assert omitted(DIGEST)["$omitted"]["sha256"] in taken.refs.values()
        assert not has_parcels(shown)
    assert not has_parcels(TaskCompleted(task_id="t", node_id="n", output={"rows": [1]}))


def test_only_what_is_in_objects_and_not_too_deep_is_exchanged() -> None:
    parcel = Parcel(DIGEST)
    value = {"a": {"b": {"c": parcel, "d": {"e": parcel}}}, "f": [parcel], "g": parcel}
    assert exchange(value, Parcel, lambda _: None) == {
        "a": {"b": {"c": None, "d": {"e": parcel}}},
        "f": [parcel],
        "g": None,
    }
    assert value["g"] is parcel
    deepest = {"input": {"arguments": {"a": {"b": {"c": parcel}}}}}["input"]
    taken = LargeValues().take_out(TaskStarted(task_id="t", node_id="n", input=deepest))
    assert taken.refs == {"input/arguments/a/b/c": DIGEST}


NUMBERS = st.lists(
    st.integers().map(str)
    | st.floats().map(str)
    | st.sampled_from(
        ["1e999", "-1E+400", "1e-400", "0" * 301, "1" * 5_000, "01", "[]", "[[1],[2]]", "{}", '"a"', "null"]
    ),
    max_size=5,
).map(lambda items: f"[{','.join(items)}]".encode())


@given(NUMBERS | st.binary(max_size=12) | st.integers(0, 70).map(lambda depth: b"[" * depth + b"1" + b"]" * depth))
def test_what_is_checked_is_what_can_be_read(body: bytes) -> None:
    assert is_refused(strict_json.check, body) == is_refused(strict_json.decode, body)


def is_refused(read: Any, body: bytes) -> bool:
    try:
        read(body, **BOUNDS)
    except strict_json.StrictJsonError:
        return True
    return False
