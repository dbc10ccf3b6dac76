"""Messages come out of a stream as they went in, however it was cut."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interlock.backends.executor.frames import Frames, FrameTooLarge, framed


def taken(frames: Frames) -> list[bytes]:
    found = []
    while (body := frames.take()) is not None:
        found.append(body)
    return found


@given(bodies=st.lists(st.binary(max_size=40), max_size=12), cuts=st.lists(st.integers(1, 30), max_size=60))
def test_messages_are_the_same_wherever_the_stream_is_cut(bodies: list[bytes], cuts: list[int]) -> None:
    stream = b"".join(map(framed, bodies))
    frames, found = Frames(40), []
    for cut in [*cuts, len(stream)]:
        frames.feed(stream[:cut])
        stream = stream[cut:]
        found += taken(frames)
    assert found == bodies


def test_a_message_that_is_too_large_is_refused_before_it_is_there() -> None:
    frames = Frames(10)
    frames.feed(framed(b"x" * 10) + framed(b"y" * 11)[:4])
    assert frames.take() == b"x" * 10
    with pytest.raises(FrameTooLarge, match="11 bytes"):
        frames.take()
