"""The command line's picture of an execution: what facts add up to, in any order they can come in."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from interlock.core.events import EVENT_TYPES
from interlock.doors.cli.facts import Fact, error_text, read_frame, read_stored
from interlock.doors.cli.folding import fold, learn_limits
from interlock.doors.cli.picture import Picture, begin
from interlock.doors.cli.sentences import count_text, sentence_of, wait_text

START = 1_795_000_000.0


class Story:
    """Facts one after the other, folded as they come."""

    def __init__(self, *nodes: tuple[str, str, str], initial: str = "") -> None:
        self.picture: Picture = begin("E", "story", nodes, initial=initial)
        self.said: list[str | None] = []
        self._seq = 0

    def tell(self, kind: str, after: float = 0.0, **data: Any) -> Fact:
        self._seq += 1
        fact = Fact(seq=self._seq, type=kind, at=START + after, data=data)
        fold(self.picture, fact)
        self.said.append(sentence_of(fact, self.picture))
        return fact

    def status(self, node_id: str) -> str:
        return self.picture.nodes[node_id].status


@pytest.fixture
def story() -> Story:
    story = Story(("a", "first", "echo"), ("b", "second", "echo"))
    story.tell("execution.started")
    return story


def test_a_node_is_pending_then_running_then_completed(story: Story) -> None:
    assert story.status("a") == "pending"
    story.tell("task.started", 1, task_id="a", node_id="a")
    assert story.status("a") == "running"
    story.tell("task.completed", 3, task_id="a", node_id="a", duration_ms=1500)
    assert story.status("a") == "completed"
    assert story.said[-2:] == ["first started", "first completed in 1.5 s"]
    assert story.picture.share == 0.5


def test_a_failed_attempt_that_is_tried_again_leaves_the_node_retrying(story: Story) -> None:
    story.tell("task.started", task_id="a", node_id="a")
    error = {"code": "HTTP_503", "message": "come back later"}
    story.tell(
        "task.failed",
        1,
        task_id="a",
        node_id="a",
        attempt=1,
        error=error,
        will_retry=True,
        retry_at="2026-11-18T11:06:45Z",
    )
    assert story.status("a") == "retrying"
    assert story.said[-1] == "first will be tried again (attempt 1 failed): HTTP_503: come back later"
    assert wait_text(story.picture.nodes["a"].waits(), START) == "its next attempt, 5.0 s left"
    story.tell("task.started", 6, task_id="a", node_id="a", attempt=2)
    assert (story.status("a"), story.picture.nodes["a"].attempt) == ("running", 2)
    assert story.said[-1] == "first started (attempt 2)"
    story.tell("task.failed", 7, task_id="a", node_id="a", attempt=2, error=error)
    assert (story.status("a"), story.said[-1]) == ("failed", "first failed: HTTP_503: come back later")


def test_nodes_inside_a_map_are_counted_and_never_listed() -> None:
    story = Story(("each", "each", "map"), ("check", "check", "python"))
    story.tell("execution.started")
    story.tell("task.started", task_id="each", node_id="each", waits_for="iterations", input={"limit": 33})
    for index in range(33):
        story.tell("task.started", task_id=f"each[{index}]/check", node_id="check")
    for index in range(12):
        story.tell("task.completed", task_id=f"each[{index}]/check", node_id="check")
    check = story.picture.nodes["check"]
    assert (story.status("each"), check.status) == ("running", "running")
    assert (count_text(check), check.share) == ("12/33", 12 / 33)
    assert [said for said in story.said if said and said.startswith("check")] == [
        "check 3/33",
        "check 6/33",
        "check 9/33",
        "check 12/33",
    ]
    assert len(story.picture.nodes) == 2


def test_a_map_whose_items_were_too_large_for_its_frame_is_counted_once_somebody_knows() -> None:
    story = Story(("each", "each", "map"), ("check", "check", "python"))
    story.tell("task.started", task_id="each", node_id="each", waits_for="iterations", omitted={"input_data": {}})
    story.tell("task.started", task_id="each[0]/check", node_id="check")
    story.tell("task.completed", task_id="each[0]/check", node_id="check")
    check = story.picture.nodes["check"]
    assert (count_text(check), check.total, story.said[-1]) == ("1", None, "check 1 time")
    known = [{"task_id": "each", "input_data": {"limit": 4}}, {"task_id": "x"}]
    learn_limits(story.picture, {"node_executions": known})
    assert (count_text(check), check.status) == ("1/4", "running")


def test_a_map_in_a_map_adds_up_the_turns_of_each(story: Story) -> None:
    story.tell("task.started", task_id="a", node_id="a", waits_for="iterations", input={"limit": 2})
    for outer in (0, 1):
        task_id = f"a[{outer}]/inner"
        story.tell("task.started", task_id=task_id, node_id="inner", waits_for="iterations", input={"limit": 3})
        for index in range(3):
            story.tell("task.started", task_id=f"{task_id}[{index}]/leaf", node_id="leaf")
            story.tell("task.completed", task_id=f"{task_id}[{index}]/leaf", node_id="leaf")
    assert count_text(story.picture.nodes["leaf"]) == "6/6"
    assert story.picture.nodes["inner"].total == 2


def test_an_approval_is_open_until_it_is_decided(story: Story) -> None:
    story.tell("task.started", task_id="a", node_id="a", waits_for="approval")
    story.tell("approval.requested", task_id="a", node_id="a", approval_id="X", title="Pay?", expires_at=None)
    assert (story.picture.asking, story.status("a")) == ({"a": "a"}, "waiting")
    assert story.said[-1] == "first asks a person: Pay?"
    story.tell("approval.escalated", task_id="a", node_id="a", assignees=["boss"])
    assert story.said[-1] == "first now asks boss"
    story.tell("approval.decided", task_id="a", node_id="a", status="approved", by="ada", reason="fine")
    assert (story.picture.asking, story.said[-1]) == ({}, "first approved by ada: fine")


def test_what_is_under_way_when_the_execution_ends_is_stopped(story: Story) -> None:
    story.tell("task.started", task_id="a", node_id="a", waits_for="approval")
    story.tell("execution.cancelled", 5, reason="not needed", by="ada")
    assert (story.picture.status, story.status("a"), story.status("b")) == ("CANCELED", "stopped", "pending")
    assert (story.picture.asking, story.said[-1]) == ({}, "execution cancelled by ada: not needed")


def test_an_execution_that_ran_out_of_time_says_so(story: Story) -> None:
    story.tell("execution.failed", 9, error={"code": "TIMEOUT", "message": "after 5 s"})
    assert (story.picture.status, story.picture.error) == ("TIMEOUT", "TIMEOUT: after 5 s")


def test_a_flow_rests_in_states_that_run_nothing_and_leaves_them() -> None:
    story = Story(("price", "price", "transform"), ("review", "review", ""), ("done", "done", ""), initial="price")
    story.tell("execution.started")
    story.tell("task.started", task_id="price", node_id="price")
    story.tell("task.completed", 1, task_id="price", node_id="price")
    story.tell("flow.event_raised", 1, flow_state="price", event="STEP_DONE")
    moved = {"event": "STEP_DONE", "source": ["price"], "target": ["review"], "active": ["review"], "rests": "user"}
    story.tell("flow.transitioned", 1, **moved)
    assert [story.status(state) for state in ("price", "review", "done")] == ["completed", "waiting", "pending"]
    assert wait_text(story.picture.nodes["review"].waits(), START) == "a person's input"
    assert story.said[-2:] == ["price raised STEP_DONE", "price → review on STEP_DONE"]
    story.tell("signal.received", 2, name="APPROVE", payload={"ok": True}, by="ada")
    assert story.said[-1] == 'signal APPROVE by ada: {"ok":true}'
    moved = {"event": "APPROVE", "source": ["review"], "target": ["done"], "active": ["done"], "rests": "end"}
    story.tell("flow.transitioned", 2, **moved)
    story.tell("flow.transitioned", 2, **{**moved, "event": "BRANCH_OVER", "source": ["price"], "target": []})
    assert story.said[-1] == "price left: nothing moves it any more"
    story.tell("execution.succeeded", 2)
    assert [story.status(state) for state in ("price", "review", "done")] == ["completed"] * 3


def test_a_flow_that_begins_in_a_state_without_a_node_waits_there_at_once() -> None:
    story = Story(("ask", "ask", ""), initial="ask")
    story.tell("execution.started")
    assert story.status("ask") == "waiting"


def test_pausing_shows_and_resuming_hides_it(story: Story) -> None:
    story.tell("execution.paused", reason="lunch", by="ada")
    assert (story.picture.status, story.said[-1]) == ("PAUSED", "execution paused by ada: lunch")
    story.tell("execution.resumed", by="ada")
    assert (story.picture.status, story.said[-1]) == ("RUNNING", "execution resumed by ada")


def test_progress_skips_writes_and_strange_facts_have_a_line_each(story: Story) -> None:
    story.tell("task.started", task_id="a", node_id="a")
    story.tell("task.progressed", task_id="a", node_id="a", progress=0.25, message="page 1")
    story.tell("task.waiting", task_id="a", node_id="a", waits_for="signal", name="paid")
    story.tell("task.skipped", task_id="b", node_id="b", reason="no live connection reaches it")
    story.tell("blackboard.written", key="k", value=[1], by="ada")
    story.tell("something.new", node_id="b")
    assert story.said[-5:] == [
        "first: 25% page 1",
        "first waits for a signal",
        "second skipped: no live connection reaches it",
        "blackboard k = [1] by ada",
        "second something.new",
    ]
    assert wait_text(story.picture.nodes["a"].waits(), START) == "a signal paid"
    assert story.status("b") == "skipped"


def test_a_frame_and_the_stored_event_are_the_same_fact() -> None:
    data = {"task_id": "a", "node_id": "a", "attempt": 1, "input": {"n": 1}}
    stored = read_stored({"seq": 3, "type": "task.started", "data": data, "at": "2026-11-18T11:06:40.5Z"})
    renamed = {**data, "event": "task.started", "execution_id": "E", "node_name": "first", "input_data": {"n": 1}}
    del renamed["input"]
    frame = {"type": "node_started", "data": renamed, "timestamp": int(stored.at * 1000), "is_final": False}
    framed = read_frame(3, msgspec.json.encode(frame))
    assert (framed.seq, framed.type, framed.at) == (stored.seq, stored.type, stored.at)
    assert {key: framed.data[key] for key in data} == stored.data


@pytest.mark.parametrize(
    ("error", "text"),
    [(None, ""), ("plain", "plain"), ({"message": "m"}, "m"), ({"error_code": "C", "message": "m"}, "C: m")],
)
def test_errors_read_the_same_in_every_shape(error: Any, text: str) -> None:
    assert error_text(error) == text


TASKS = st.sampled_from(["a", "b", "each", "each[0]/c", "each[1]/c", "each[1]/in[0]/d"])
DATA = st.fixed_dictionaries(
    {"task_id": TASKS},
    optional={
        "waits_for": st.sampled_from(["", "timer", "approval", "iterations", "signal"]),
        "attempt": st.integers(1, 5),
        "will_retry": st.booleans(),
        "approval_id": st.just("X"),
        "input": st.sampled_from([None, [], {"limit": 2}, {"limit": "many"}, {"signal": "go"}]),
        "error": st.sampled_from([None, "text", {"code": "C", "message": "m"}]),
        "progress": st.one_of(st.none(), st.floats(0, 1), st.just("half")),
        "source": st.just(["a"]),
        "target": st.lists(st.sampled_from(["a", "b"]), max_size=2),
        "active": st.lists(st.sampled_from(["a", "b"]), max_size=2),
    },
)


@given(st.lists(st.tuples(st.sampled_from([*EVENT_TYPES, "something.new"]), DATA), max_size=40))
def test_no_story_breaks_the_picture(events: list[tuple[str, dict[str, Any]]]) -> None:
    story = Story(initial="a")
    for after, (kind, data) in enumerate(events):
        node_id = data["task_id"].rpartition("/")[2].partition("[")[0]
        story.tell(kind, after, node_id=node_id, **data)
        assert 0.0 <= story.picture.share <= 1.0
        for node in story.picture.nodes.values():
            assert min(node.done, node.failed, node.skipped, node.begun) >= 0
            assert node.status
    assert set(story.picture.asking.values()) <= set(story.picture.nodes)


@pytest.mark.parametrize("kind", sorted(EVENT_TYPES))
def test_every_kind_of_event_has_words_of_its_own(kind: str, story: Story) -> None:
    data = {"task_id": "a", "node_id": "a", "name": "n", "key": "k", "flow_state": "a", "event": "E", "source": ["a"]}
    story.tell(kind, **data, target=["b"], active=["b"])
    assert story.said[-1]
    assert kind not in story.said[-1]
