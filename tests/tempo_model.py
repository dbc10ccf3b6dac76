"""What a session of the tempo door must do, as a model in plain Python, and a machine that holds a server to it.

The machine starts sessions of one flow, pushes events into them, calls back, pauses, stops and writes keys, in any
order; after every step the server must say of the session what the model says.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import httpx2
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, precondition, rule

FLOW = """\
name: Orders as a model
states: [draft, check, big, small, call, review, end]
user_input_states: [draft, review]
terminal_states: [end]
state_node_map: {check: builtin://conditional, big: echo, small: echo, call: "%s"}
state_params: {check: {key: amount, operator: gt, value: 100, true_event: BIG, false_event: SMALL}}
transitions:
  - {from: draft, event: SUBMIT, to: check}
  - {from: draft, event: SKIP, to: end}
  - {from: check, event: BIG, to: big}
  - {from: check, event: SMALL, to: small}
  - {from: big, event: STEP_DONE, to: review}
  - {from: small, event: STEP_DONE, to: call}
  - {from: call, event: STEP_DONE, to: review}
  - {from: call, event: ERROR, to: draft}
  - {from: review, event: OK, to: end}
  - {from: review, event: BACK, to: draft}
"""
MOVES = {
    ("draft", "SUBMIT"): "check",
    ("draft", "SKIP"): "end",
    ("review", "OK"): "end",
    ("review", "BACK"): "draft",
}
VALID = {"draft": ["SUBMIT", "SKIP"], "review": ["OK", "BACK"], "call": ["STEP_DONE", "ERROR"], "end": []}
STATES = ("draft", "call", "review", "end", "nowhere")
WORDS = {"draft": "waiting_user", "review": "waiting_user", "call": "running"}
TEXTS = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=3)
Answer = tuple[int, dict[str, Any]]
"""A status, and the fields that an answer must have with these values."""


def refused(status: int, code: str) -> Answer:
    return status, {"code": code}


@dataclass
class Model:
    """One session."""

    amount: int
    state: str = "draft"
    ended: str = ""  # completed or error
    is_paused: bool = False
    has_failed: bool = False  # a node of it, once
    is_awaiting: bool = False  # a callback
    held: bool | None = None  # how a callback ended that came while it was paused
    payload: Any = None
    board: dict[str, Any] = field(default_factory=dict)
    versions: dict[str, int] = field(default_factory=dict)
    accepted: list[Any] = field(default_factory=list)  # callbacks, in order
    pushed: list[str] = field(default_factory=list)

    @property
    def session_state(self) -> str:
        return self.ended or ("paused" if self.is_paused else WORDS[self.state])

    @property
    def valid_events(self) -> list[str]:
        return [] if self.ended else VALID[self.state]

    def where(self) -> Answer:
        return 200, {"new_state": self.state, "session_state": self.session_state}

    def enter(self, state: str) -> None:
        """Be in a state, or where its node leads."""
        if state == "check":
            state = "review" if self.amount > 100 else "call"
            self.board["echo_result"] = {"amount": self.amount}
        self.state = state
        self.is_awaiting = state == "call"
        if state == "end":
            self.ended = "completed"

    def push(self, name: str, payload: Any, expected: str | None) -> Answer:
        is_expected = expected in (None, self.state)
        if self.ended == "error":
            return refused(409, "SESSION_CLOSED")
        if not is_expected:
            return refused(409, "STATE_CONFLICT")
        if self.ended:
            return refused(422, "INVALID_TRANSITION")
        target = MOVES.get((self.state, name))
        if target is None and self._control(name, payload):
            return self.where()
        if self.is_paused:
            return refused(409, "SESSION_PAUSED")
        if target is None:
            return refused(422, "INVALID_TRANSITION")
        self._received(name, payload)
        self.enter(target)
        return self.where()

    def _received(self, name: str, payload: Any) -> None:
        self.payload = payload
        self.pushed.append(name)

    def _control(self, name: str, payload: Any) -> bool:
        if name == "PAUSE":
            self.is_paused = True
        elif name == "RESUME":
            self._resume()
        elif name == "ABORT":
            self._received(name, payload)
            self.ended = "error"
        elif name == "RETRY" and self.has_failed:
            self._received(name, payload)
            self.enter("call")
        else:
            return False
        return True

    def _resume(self) -> None:
        self.is_paused = False
        if self.held is not None:
            self.enter("review" if self.held else "draft")
            self.held = None

    def call_back(self, body: Any, is_good: bool) -> Answer:
        if self.ended or not self.is_awaiting:
            known = self.accepted if self.ended else self.accepted[-1:]
            return 200, {"status": "duplicate" if body in known else "ignored"}
        self.accepted.append(body)
        self.is_awaiting = False
        self.has_failed = self.has_failed or not is_good
        if self.is_paused:
            self.held = is_good
        else:
            self.enter("review" if is_good else "draft")
        return 200, {"status": "received", **self.where()[1]}

    def stop(self) -> Answer:
        if not self.ended:
            self.ended = "error"
            self.payload = {"reason": "enough"}
            self.pushed.append("ABORT")
        return 200, {"status": "terminated", "session_state": self.session_state}

    def write(self, key: str, value: Any, seen: int | None) -> Answer:
        if key.startswith("_"):
            return refused(403, "RESERVED_KEY")
        if self.ended:
            return refused(409, "SESSION_CLOSED")
        if seen not in (None, self.versions.get(key, 0)):
            return refused(412, "PRECONDITION_FAILED")
        self.board[key] = value
        return 200, {"status": "written", "key": key}


class Sessions(RuleBasedStateMachine):
    """Holds a server to the model. ``http`` calls it as a tenant of its own; the flow's webhook takes all calls."""

    sessions = Bundle("sessions")
    http: httpx2.Client
    webhook: str
    numbers = itertools.count(1)

    def __init__(self) -> None:
        super().__init__()
        self.models: dict[str, Model] = {}
        text = {"flow_id": "model", "name": "Model", "yaml_content": FLOW % self.webhook}
        self.check(self.http.post("/api/registry/flows", json=text), (200, {"flow_id": "model"}))

    def check(self, answer: httpx2.Response, expected: Answer) -> Any:
        """The body of an answer that is as expected."""
        status, fields = expected
        body = answer.json()
        assert answer.status_code == status, (answer.status_code, body, expected)
        assert {name: body.get(name) for name in fields} == fields, (body, expected)
        return body

    @rule(target=sessions, amount=st.sampled_from([1, 500]), is_named=st.booleans())
    def start(self, amount: int, is_named: bool) -> str:
        model = Model(amount)
        body: dict[str, Any] = {"flow_id": "model", "params": {"amount": amount}}
        if is_named:
            body["session_id"] = f"mine:{next(self.numbers)}"
        expected = (200, {"state": "draft", "session_state": "waiting_user", "flow_id": "model"})
        session_id = str(self.check(self.http.post("/api/workflow/start", json=body), expected)["session_id"])
        if is_named:
            assert session_id == body["session_id"]
            self.check(self.http.post("/api/workflow/start", json=body), (200, {"session_id": session_id}))
            other = {**body, "params": {"amount": -1}}
            self.check(self.http.post("/api/workflow/start", json=other), refused(409, "CONFLICT"))
        self.models[session_id] = model
        self.agree(session_id)
        return session_id

    @rule(
        session_id=sessions,
        name=st.sampled_from(["SUBMIT", "SUBMIT", "SKIP", "OK", "BACK", "PAUSE", "RESUME", "RETRY", "BOGUS"]),
        expected=st.none() | st.sampled_from(STATES),
        is_repeated=st.booleans(),
    )
    def push(self, session_id: str, name: str, expected: str | None, is_repeated: bool) -> None:
        model = self.models[session_id]
        if name == "RETRY" and model.is_paused:
            return
        number = next(self.numbers)
        body = {"event_type": name, "payload": {"n": number}, "event_id": f"e{number}"}
        if expected is not None:
            body["expected_state"] = expected
        path = f"/api/workflow/{session_id}/event"
        told = self.check(self.http.post(path, json=body), model.push(name, {"n": number}, expected))
        if is_repeated and "code" not in told:
            assert self.check(self.http.post(path, json=body), (200, {})) == told
            other = {**body, "payload": {"n": -1}}
            self.check(self.http.post(path, json=other), refused(422, "IDEMPOTENCY_MISMATCH"))
        self.agree(session_id)

    @rule(session_id=sessions)
    def abort(self, session_id: str) -> None:
        body = {"event_type": "ABORT", "payload": {"reason": "no"}}
        expected = self.models[session_id].push("ABORT", body["payload"], None)
        self.check(self.http.post(f"/api/workflow/{session_id}/event", json=body), expected)
        self.agree(session_id)

    @rule(session_id=sessions, is_good=st.booleans(), number=st.integers(1, 2))
    def call_back(self, session_id: str, is_good: bool, number: int) -> None:
        good = {"step": "call", "result": {"n": number}}
        body = good if is_good else {"step": "call", "status": "error", "error_message": f"no {number}"}
        expected = self.models[session_id].call_back(body, is_good)
        self.check(self.http.post(f"/api/workflow/{session_id}/callback", json=body), expected)
        self.agree(session_id)

    @rule(session_id=sessions)
    @precondition(lambda self: self.models)
    def stop(self, session_id: str) -> None:
        answer = self.http.request("DELETE", f"/api/workflow/{session_id}", json={"reason": "enough"})
        self.check(answer, self.models[session_id].stop())
        self.agree(session_id)

    @rule(
        session_id=sessions,
        key=st.sampled_from(["a", "b", "echo_result", "_mine"]),
        value=st.integers(0, 9) | st.lists(TEXTS, max_size=2),
        seen=st.sampled_from(["nothing", "this", "another"]),
    )
    def write(self, session_id: str, key: str, value: Any, seen: str) -> None:
        model, path = self.models[session_id], f"/api/state/{session_id}/{key}"
        version = int(self.http.get(path).headers["etag"].strip('"'))
        model.versions[key] = version
        told = {"nothing": None, "this": version, "another": version + 1}[seen]
        headers = {} if told is None else {"if-match": str(told)}
        body = self.check(self.http.put(path, json={"value": value}, headers=headers), model.write(key, value, told))
        assert "version" not in body or body["version"] > version
        self.agree(session_id)

    @rule(session_id=st.sampled_from(["nobody", "01890000-0000-7000-8000-000000000000"]))
    def ask_for_nobody(self, session_id: str) -> None:
        path = f"/api/workflow/{session_id}"
        unknown = refused(404, "SESSION_NOT_FOUND")
        self.check(self.http.post(f"{path}/event", json={"event_type": "OK"}), unknown)
        self.check(self.http.get(f"{path}/state"), unknown)
        self.check(self.http.delete(path), unknown)
        self.check(self.http.post(f"{path}/callback", json={"step": "call"}), unknown)

    def agree(self, session_id: str) -> None:
        """The server says of the session what the model says."""
        model = self.models[session_id]
        standing = {
            "current_state": model.state,
            "session_state": model.session_state,
            "valid_events": model.valid_events,
            "active_states": [model.state],
        }
        self.check(self.http.get(f"/api/workflow/{session_id}/state"), (200, standing))
        board = self.http.get(f"/api/state/{session_id}").json()["state"]
        expected = {
            **model.board,
            "_fsm_state": model.state,
            "_session_state": model.session_state,
            "_user_payload": model.payload,
            "_params": {"amount": model.amount},
        }
        assert {name: board.get(name) for name in expected} == expected
        assert ("signal:abort" in board) == (model.ended == "error")

    def teardown(self) -> None:
        for session_id, model in self.models.items():
            events = self.http.get(f"/api/workflow/{session_id}/events?limit=1000").json()["events"]
            _check_log(events, model)


def _check_log(events: list[Mapping[str, Any]], model: Model) -> None:
    """The log has no gap, every accepted event once and in order, and one end."""
    assert [event["tick"] for event in events] == list(range(1, len(events) + 1))
    names = {"SUBMIT", "SKIP", "OK", "BACK", "RETRY", "ABORT"}
    assert [event["type"] for event in events if event["type"] in names] == model.pushed
    ends = [event["type"] for event in events if event["type"] in ("SESSION_COMPLETE", "SESSION_ABORT")]
    assert ends == {"": [], "completed": ["SESSION_COMPLETE"], "error": ["SESSION_ABORT"]}[model.ended]
    taken = [event for event in events if event["type"] == "CALLBACK_RECEIVED" and event["payload"]["accepted"]]
    assert len(taken) == len(model.accepted)
