"""The form of a flow: states, what runs in them, and the transitions between them."""

from __future__ import annotations

from typing import Any

from interlock.core.definition.fields import Fields
from interlock.core.definition.limits import MAX_ENDS, MAX_STATES, MAX_TRANSITIONS
from interlock.core.definition.read_graph import read_retry
from interlock.core.definition.report import Place, Report, kind_of
from interlock.core.workflow import FlowDefinition, RetryPolicy, StateTimer, TransitionDefinition

DEFAULT_RETRY = RetryPolicy(max_attempts=3)
_REGISTERED = ("builtin://", "webhook://")
_JOINED = "ALL_DONE"  # the event of a fan-in that names none


def read_flow(fields: Fields, report: Report) -> FlowDefinition | None:
    """The flow, as far as it can be read. Keys that are not known are warnings. None if it is too large."""
    states = fields.texts("states", limit=MAX_STATES)
    nodes = _texts_of(fields, "state_node_map")
    flow = FlowDefinition(
        states=states,
        initial_state=fields.text("initial_state", default=states[0] if states else ""),
        nodes={state: node_reference(text) for state, text in nodes.items()},
        parameters=_read_parameters(fields),
        user_input_states=fields.texts("user_input_states", limit=MAX_STATES),
        terminal_states=fields.texts("terminal_states", limit=MAX_STATES),
        retry=_read_retries(fields),
        timeouts=_read_timeouts(fields),
        timers=_read_timers(fields),
        transitions=_read_transitions(fields, report),
    )
    fields.close(is_lenient=True)
    is_whole = not any(problem.code == "TOO_LARGE" for problem in report.problems)
    return flow if is_whole else None


def node_reference(text: str) -> str:
    """The node type behind a reference: ``builtin://echo``, ``webhook://mine`` or the bare name; others as written."""
    for scheme in _REGISTERED:
        if text.startswith(scheme):
            return text.removeprefix(scheme)
    return text


def _texts_of(fields: Fields, name: str) -> dict[str, str]:
    inner = fields.inner(name)
    return {key: inner.text(key) for key in inner.keys}


def _read_parameters(fields: Fields) -> dict[str, dict[str, Any]]:
    inner = fields.inner("state_params")
    return {state: inner.mapping(state) for state in inner.keys}


def _read_retries(fields: Fields) -> dict[str, RetryPolicy]:
    inner = fields.inner("retry")
    return {
        state: read_retry(inner.inner(state, node_id=state), DEFAULT_RETRY, is_lenient=True) for state in inner.keys
    }


def _read_timeouts(fields: Fields) -> dict[str, float]:
    inner = fields.inner("timeouts")
    found = {state: inner.seconds(state) for state in inner.keys}
    return {state: seconds for state, seconds in found.items() if seconds is not None}


def _read_timers(fields: Fields) -> dict[str, StateTimer]:
    outer = fields.inner("timers")
    timers: dict[str, StateTimer] = {}
    for state in outer.keys:
        inner = outer.inner(state, node_id=state)
        after, event = inner.seconds("after"), inner.text("event", required=True).upper()
        if inner.take("after") is None:
            inner.missing("after", "seconds")
        inner.close(is_lenient=True)
        if after is not None:
            timers[state] = StateTimer(after=after, event=event)
    return timers


def _read_transitions(fields: Fields, report: Report) -> tuple[TransitionDefinition, ...]:
    items, place = fields.items("transitions"), fields.place.at("transitions")
    if len(items) > MAX_TRANSITIONS:
        message = f"The flow has {len(items)} transitions, at most {MAX_TRANSITIONS} are allowed"
        report.add("TOO_LARGE", place, message, value=len(items))
        return ()
    found: list[TransitionDefinition] = []
    ends = 0
    for index, item in enumerate(items):
        found.append(_read_transition(report, item, Place(f"transitions[{index}]")))
        ends += len(found[-1].source) + len(found[-1].target)
        if ends > MAX_ENDS:
            message = f"The transitions have more than {MAX_ENDS} sources and targets together"
            report.add("TOO_LARGE", place, message)
            return ()
    return tuple(found)


def _read_transition(report: Report, source: Any, place: Place) -> TransitionDefinition:
    if not isinstance(source, dict):
        message = f"A transition must be an object, not {kind_of(source)}"
        report.add("TYPE_WRONG", place, message, value=source, hint="write {from: a, event: E, to: b}")
        return TransitionDefinition(source=(), event="", target=())
    fields = Fields(report, source, place)
    fan_in = fields.flag("fan_in")
    for name in ("from", "to"):
        if fields.take(name) is None:
            fields.missing(name, "a state")
    transition = TransitionDefinition(
        source=fields.texts("from", limit=MAX_STATES, is_single_allowed=True),
        event=fields.text("event", default=_JOINED if fan_in else "", required=not fan_in).upper(),
        target=fields.texts("to", limit=MAX_STATES, is_single_allowed=True),
        fan_in=fan_in,
        when=fields.text("when") or None,
    )
    fields.close(is_lenient=True)
    return transition
