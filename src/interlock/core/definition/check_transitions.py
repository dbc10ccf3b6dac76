"""The transitions of a flow: known ends, one meaning per event, and fan-ins that a fork can reach."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import reduce
from operator import or_

from interlock.core.definition.check_expressions import Expressions
from interlock.core.definition.limits import EVENT, MAX_ENDS
from interlock.core.definition.report import Place, Report, cut
from interlock.core.workflow import FlowDefinition, TransitionDefinition


def check_transitions(definition: FlowDefinition, expressions: Expressions, report: Report) -> None:
    """Report what is wrong with each transition, and what is wrong between them."""
    if sum(len(found.source) + len(found.target) for found in definition.transitions) > MAX_ENDS:
        message = f"The transitions have more than {MAX_ENDS} sources and targets together"
        report.add("TOO_LARGE", Place("transitions"), message)
        return
    states = dict.fromkeys(definition.states)
    for index, transition in enumerate(definition.transitions):
        place = Place(f"transitions[{index}]", transition.source[0] if transition.source else None)
        _check_ends(transition, states, place, report)
        _check_event(transition, place, report)
        if transition.when is not None:
            expressions.check_bare(transition.when, place.at("when"))
    _check_choices(definition, report)
    _check_fan_ins(definition, list(states), report)


def _check_ends(transition: TransitionDefinition, states: Mapping[str, None], place: Place, report: Report) -> None:
    for key, message, names in (
        ("from", "Transition from unknown state", transition.source),
        ("to", "Transition to unknown state", transition.target),
    ):
        if not names:
            report.add("KEY_MISSING", place.at(key), f"'{key}' names no state", hint=f"add {key}: a state")
        if len(set(names)) < len(names):
            report.add("ID_DUPLICATE", place.at(key), f"'{key}' names a state twice", hint="name each state once")
        for name in names:
            if name not in states:
                hint = report.nearest(name, states, "states") or "add it to states"
                report.add("STATE_UNKNOWN", place.at(key), f"{message}: '{cut(name)}'", value=name, hint=hint)


def _check_event(transition: TransitionDefinition, place: Place, report: Report) -> None:
    if not EVENT.fullmatch(transition.event):
        hint = f"it must match {EVENT.pattern}"
        message = f"The event '{cut(transition.event)}' is not allowed"
        report.add("ID_INVALID", place.at("event"), message, value=transition.event, hint=hint)


def _check_choices(definition: FlowDefinition, report: Report) -> None:
    """Without a guard, one event means one transition."""
    taken: dict[tuple[str, ...], int] = {}
    for index, transition in enumerate(definition.transitions):
        if transition.when is not None or not transition.source:
            continue
        alone = [(source, transition.event) for source in transition.source]
        for key in [("", *sorted(transition.source))] if transition.fan_in else alone:
            if key in taken:
                place = Place(f"transitions[{index}]", transition.source[0])
                where = ", ".join(map(cut, transition.source[:5])) if transition.fan_in else cut(key[0])
                message = f"Two transitions leave '{where}' on '{cut(transition.event)}'"
                hint = f"see transitions[{taken[key]}]; give one a guard (when) or another event"
                report.add("TRANSITION_AMBIGUOUS", place, message, value=transition.event, hint=hint)
            taken.setdefault(key, index)


def _check_fan_ins(definition: FlowDefinition, states: list[str], report: Report) -> None:
    fan_ins = [(index, found) for index, found in enumerate(definition.transitions) if found.fan_in]
    if not fan_ins:
        return
    forks = _forks_reaching(definition, states)
    for index, transition in fan_ins:
        place = Place(f"transitions[{index}]", transition.source[0] if transition.source else None)
        if transition.when is not None:
            message = "A fan-in cannot have a guard"
            hint = "lead it to a state of its own and guard the transitions from there"
            report.add("FAN_IN_INVALID", place.at("when"), message, value=transition.when, hint=hint)
        if len(set(transition.source)) < 2:
            message = "A fan-in joins at least two states"
            report.add("FAN_IN_INVALID", place.at("from"), message, hint="from: [a, b]")
        elif all(source in forks for source in transition.source) and not _is_shared(transition.source, forks):
            message = f"No fork leads to all of {', '.join(map(cut, transition.source[:5]))}"
            hint = "one transition must have several states in to, and the fan-in must join what follows from them"
            report.add("FAN_IN_INVALID", place.at("from"), message, hint=hint)


def _is_shared(sources: Iterable[str], forks: Mapping[str, int]) -> bool:
    shared = -1
    for source in sources:
        shared &= forks[source]
    return shared != 0


def _forks_reaching(definition: FlowDefinition, states: list[str]) -> dict[str, int]:
    """For each state a bit per fork that leads to it, at once or later."""
    rank = {name: position for position, name in enumerate(states)}
    following = [0] * len(states)
    for transition in definition.transitions:
        for source in transition.source:
            if source in rank:
                following[rank[source]] |= _mask(transition.target, rank)
    behind = [_behind(1 << position, following) for position in range(len(states))]
    forks: list[int] = []
    for transition in definition.transitions:
        if len(transition.target) > 1:
            forks.append(reduce(or_, (behind[rank[name]] for name in transition.target if name in rank), 0))
    return {
        name: sum(1 << fork for fork, reached in enumerate(forks) if reached >> rank[name] & 1)
        for name in {source for found in definition.transitions if found.fan_in for source in found.source}
        if name in rank
    }


def _mask(names: Iterable[str], rank: Mapping[str, int]) -> int:
    return reduce(or_, (1 << rank[name] for name in names if name in rank), 0)


def _behind(start: int, following: Sequence[int]) -> int:
    """All bits that can be reached from those of ``start``, with them."""
    found = todo = start
    while todo:
        place = todo.bit_length() - 1
        fresh = following[place] & ~found
        found |= fresh
        todo = todo & ~(1 << place) | fresh
    return found
