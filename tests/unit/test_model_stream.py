"""A stream keeps its bytes, however they arrive, and is looked into where there is something to see."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interlock.core.errors import InterlockError
from interlock.core.models.prices import Usage
from interlock.core.models.stream import DONE, MAX_EVENT, StreamReader
from timing import least_cpu_seconds

USAGE = {"prompt_tokens": 9, "completion_tokens": 2}


def event(value: Any) -> bytes:
    return b"data: " + json.dumps(value).encode() + b"\n\n"


def chunk(text: str, **more: Any) -> bytes:
    return event({"choices": [{"delta": {"content": text}}], **more})


WHOLE = (
    chunk("Hel", usage=None) + b": still here\n\n" + chunk("lo, wörld") + event({"choices": [], "usage": USAGE}) + DONE
)


def read(data: bytes, cuts: list[int], reader: StreamReader) -> bytes:
    places = [0, *sorted(cut % (len(data) + 1) for cut in cuts), len(data)]
    return b"".join(reader.feed(data[start:end]) for start, end in pairwise(places))


@given(cuts=st.lists(st.integers(0, 10_000)), keeps=st.booleans(), ending=st.sampled_from([b"\n", b"\r\n"]))
def test_it_does_not_matter_how_the_bytes_are_cut(cuts: list[int], keeps: bool, ending: bytes) -> None:
    reader = StreamReader(keeps_usage=keeps)
    usage = event({"choices": [], "usage": USAGE}) if keeps else b""
    expected = WHOLE.replace(event({"choices": [], "usage": USAGE}), usage)
    assert read(WHOLE.replace(b"\n", ending), cuts, reader) == expected
    assert reader.is_done
    assert reader.usage == Usage(9, 2)
    assert reader.failure is None


@given(cuts=st.lists(st.integers(0, 10_000)))
def test_an_error_in_mid_stream_is_taken_out_wherever_it_is_cut(cuts: list[int]) -> None:
    reader = StreamReader(keeps_usage=True)
    data = chunk("Hel") + event({"error": {"message": "secret", "code": "overloaded"}}) + chunk("lost") + DONE
    assert read(data, cuts, reader) == chunk("Hel")
    assert reader.failure is not None
    assert "overloaded" in reader.failure.message
    assert not reader.is_done


@given(cuts=st.lists(st.integers(0, 10_000)))
def test_a_usage_that_is_told_while_text_still_comes_is_not_the_last_word(cuts: list[int]) -> None:
    running = {"prompt_tokens": 9, "completion_tokens": 1}
    reader = StreamReader(keeps_usage=True)
    read(chunk("Hel", usage=running), cuts, reader)
    assert (reader.usage, reader.has_gone_on) == (Usage(9, 1), False)
    reader.feed(chunk("lo"))
    assert reader.has_gone_on
    reader.feed(chunk("", usage=USAGE) + DONE)
    assert (reader.usage, reader.has_gone_on) == (Usage(9, 2), False)


def test_zeros_that_are_told_first_are_no_usage_and_thoughts_are_counted() -> None:
    reader = StreamReader(keeps_usage=False)
    zeros = {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}
    assert reader.feed(chunk("a", usage=zeros) + event({"choices": [], "usage": zeros})) == chunk("a", usage=zeros)
    reader.feed(event({"choices": [{"delta": {"reasoning": "so it is that"}}]}))
    assert reader.usage is None
    assert reader.output_tokens == 5


@pytest.mark.parametrize("text", ["[DONE]", '"usage": {', '"error": {}', "data: x"])
def test_what_a_model_says_is_never_mistaken_for_the_wire(text: str) -> None:
    reader = StreamReader(keeps_usage=False)
    assert reader.feed(chunk(text)) == chunk(text)
    assert not reader.is_over()


def test_usage_beside_text_is_read_and_the_text_kept() -> None:
    reader = StreamReader(keeps_usage=False)
    assert reader.feed(chunk("a", usage=USAGE)) == chunk("a", usage=USAGE)
    assert reader.usage == Usage(9, 2)


def test_nothing_after_the_end_is_handed_on() -> None:
    reader = StreamReader(keeps_usage=False)
    assert reader.feed(DONE + chunk("more")) == DONE


def test_an_event_without_end_is_refused_before_it_fills_the_memory() -> None:
    reader = StreamReader(keeps_usage=False)
    for _ in range(MAX_EVENT // 65_536):
        assert reader.feed(b"x" * 65_536) == b""
    with pytest.raises(InterlockError, match="too long"):
        reader.feed(b"x")


def test_without_the_providers_word_tokens_are_counted_here() -> None:
    reader = StreamReader(keeps_usage=False)
    assert reader.output_tokens == 0
    reader.feed(chunk("one") + chunk("two") + chunk("a rather long third one"))
    assert reader.output_tokens == 10


@pytest.mark.parametrize("keeps", [True, False])
def test_many_events_that_are_looked_into_cost_no_more_each_than_few(keeps: bool) -> None:
    """Where each of them is searched for to the end of the piece, these take half a minute."""
    events = (event({"usage": USAGE}) + chunk("a", error=None, usage=None)) * 20_000

    def work() -> None:
        reader = StreamReader(keeps_usage=keeps)
        assert len(reader.feed(events)) >= len(chunk("a")) * 20_000
        assert reader.usage == Usage(9, 2)

    assert least_cpu_seconds(work, enough=3.0) < 3.0


WRONG = (b"{nope", b'{"a": 1', b"[1]", b"nope", b'"data"', b'{"a": nope}', b"{} {}", b'{"a": "\xff"}', b"{},{}")


@given(wrong=st.sampled_from(WRONG), cuts=st.lists(st.integers(0, 10_000)))
def test_an_event_that_no_caller_could_read_ends_the_stream(wrong: bytes, cuts: list[int]) -> None:
    reader = StreamReader(keeps_usage=True)
    data = chunk("Hel") + b": comment\n\n" + chunk("lo") + b"data: " + wrong + b"\n\n" + chunk("lost") + DONE
    assert read(data, cuts, reader) == chunk("Hel") + b": comment\n\n" + chunk("lo")
    assert reader.failure is not None
    assert reader.failure.code == "LLM_PROVIDER_ERROR"
    assert not reader.is_done


@given(cuts=st.lists(st.integers(0, 10_000)))
def test_events_of_several_lines_and_with_other_fields_are_handed_on(cuts: list[int]) -> None:
    reader = StreamReader(keeps_usage=True)
    data = b'event: chunk\nid: 1\ndata: {"choices":\ndata: []}\n\n: a\n: b\n\nretry: 3000\n\n' + chunk("Hello") + DONE
    assert read(data, cuts, reader) == data
    assert (reader.failure, reader.is_done) == (None, True)
