"""The client's WebSocket: whole messages from pieces of any size, and nothing else believed."""

from __future__ import annotations

import itertools
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from websockets.server import ServerProtocol

from interlock.client import ConnectionLost, Frame, InterlockClientError, Refused
from interlock.client.following import ATTEMPTS, Following
from interlock.client.frames import RunFinished, frame_of
from interlock.client.websocket import Closed, Handshake, Ping, Reader, Text, goodbye

TEXTS = ["", "a", "é" * 100, "x" * 200, "y" * 66_000]


def opened() -> ServerProtocol:
    protocol = ServerProtocol()
    protocol.receive_data(Handshake("h:1", "/path?after=1", {"Authorization": "Bearer t"}).request)
    (request,) = protocol.events_received()
    protocol.send_response(protocol.accept(request))
    protocol.data_to_send()
    return protocol


def test_the_handshake_is_accepted_by_another_implementation() -> None:
    handshake = Handshake("h:1", "/path?after=1", {"Authorization": "Bearer t"})
    protocol = ServerProtocol()
    protocol.receive_data(handshake.request)
    (request,) = protocol.events_received()
    assert (request.path, request.headers["Authorization"]) == ("/path?after=1", "Bearer t")
    response = protocol.accept(request)
    headers = {name.lower(): value for name, value in response.headers.raw_items()}
    assert handshake.accepts(response.status_code, headers)
    assert not handshake.accepts(200, headers)
    assert not Handshake("h", "/", {}).accepts(101, headers)


@settings(deadline=None, max_examples=25)
@given(cuts=st.lists(st.integers(1, 5_000), min_size=1, max_size=20))
def test_messages_are_whole_however_they_are_cut(cuts: list[int]) -> None:
    protocol = opened()
    for text in TEXTS:
        protocol.send_text(text.encode())
    protocol.send_ping(b"still there?")
    protocol.send_text(b"in ", fin=False)
    protocol.send_continuation(b"pieces", fin=True)
    protocol.send_close(1012, "resume after=7")
    data = b"".join(protocol.data_to_send())
    reader, messages = Reader(), []
    sizes = itertools.cycle(cuts)
    while data:
        size = next(sizes)
        messages += list(reader.feed(data[:size]))
        data = data[size:]
    assert [each.text for each in messages if isinstance(each, Text)] == [*TEXTS, "in pieces"]
    (ping,) = (each for each in messages if isinstance(each, Ping))
    assert messages[-1] == Closed(1012, "resume after=7")
    protocol.receive_data(ping.answer)
    protocol.receive_data(goodbye())
    assert protocol.parser_exc is None


@pytest.mark.parametrize("data", [b"HTTP/1.1 200 OK\r\n", b"\x81\x85aaaa", b"\x82\x7f\x7f" + b"\xff" * 7])
def test_what_is_no_websocket_is_not_read_on(data: bytes) -> None:
    with pytest.raises(ConnectionLost):
        list(Reader().feed(data))


def test_frames_have_their_types_and_unknown_ones_are_frames() -> None:
    told = {"type": "finish_workflow", "seq": 6, "data": {"run_id": "R", "status": "failed", "failed_tasks": ["A"]}}
    assert frame_of(told) == RunFinished(
        type="finish_workflow", seq=6, run_id="R", status="failed", failed_tasks=("A",), data=told["data"]
    )
    unknown = frame_of({"type": "task_sang", "seq": 3, "data": {"run_id": "R", "song": "la"}, "more": 1})
    assert (type(unknown), unknown.run_id, unknown.data["song"]) == (Frame, "R", "la")


def test_a_frame_that_was_seen_is_not_told_again() -> None:
    following = Following("W", "R", 0, full=False)
    text = json.dumps({"type": "start_task", "seq": 2, "data": {}})
    assert following.frame(text) is not None
    assert following.frame(text) is None
    assert following.path == "/get_workflow_res/W/R?after=2"
    with pytest.raises(InterlockClientError, match="no frame"):
        following.frame("[]")


def test_losses_without_a_frame_between_are_given_up_and_others_are_not() -> None:
    following = Following("a/b", "R", 0, full=False)
    assert following.path == "/get_workflow_res/a%2Fb/R"
    pauses = [following.lost(OSError("gone")) for _ in range(ATTEMPTS - 1)]
    assert pauses == sorted(pauses)
    following.frame(json.dumps({"type": "start_task", "seq": 2, "data": {}}))
    for _ in range(ATTEMPTS - 1):
        following.closed(Closed(1012, ""))
    with pytest.raises(ConnectionLost, match=r"gone\. The run goes on; .*attach\('a/b', 'R'\)"):
        following.lost(OSError("gone"))


@pytest.mark.parametrize(("code", "why"), [(4404, "unknown"), (4401, "who are you"), (1008, "no")])
def test_a_stream_that_will_not_open_is_not_tried_again(code: int, why: str) -> None:
    with pytest.raises(Refused, match=f"CLOSED_{code}: {why}"):
        Following("W", "R", 0, full=False).closed(Closed(code, why))


def test_a_server_that_is_busy_is_asked_again_when_it_says() -> None:
    following = Following("W", "R", 0, full=False)
    assert following.refused(503, {"retry-after": "7"}, b"") == 7
    with pytest.raises(Refused, match="404 NOT_FOUND: no"):
        following.refused(404, {}, b'{"detail": "no", "code": "NOT_FOUND"}')
