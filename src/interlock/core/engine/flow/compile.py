"""From a flow's definition to a program's parts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from interlock.core.callback import TARGET
from interlock.core.engine.expressions import Expression, Template, compile_template, parse
from interlock.core.engine.flow.blackboard_names import blackboard_names
from interlock.core.engine.graph.compile import compile_expressions
from interlock.core.node_type import NodeType
from interlock.core.workflow import FlowDefinition, RetryPolicy, StateTimer, TransitionDefinition

DEFAULT_RETRY = RetryPolicy(max_attempts=3)


class Transition:
    """One way out of a flow state (several sources: a join)."""

    __slots__ = ("event", "fan_in", "index", "source", "target", "when")

    def __init__(self, index: int, definition: TransitionDefinition) -> None:
        self.index = index
        self.source = definition.source
        self.event = definition.event
        self.target = definition.target
        self.fan_in = definition.fan_in
        self.when: Expression | None = parse(definition.when) if definition.when else None


class FlowState:
    """A flow state, compiled."""

    __slots__ = (
        "called",
        "deadline",
        "events",
        "expressions",
        "is_terminal",
        "joins",
        "name",
        "node",
        "out",
        "parameters",
        "retry",
        "template",
        "timer",
        "user_input",
    )

    def __init__(self, name: str, definition: FlowDefinition, catalogue: Mapping[str, NodeType]) -> None:
        self.name = name
        node = definition.nodes.get(name)
        self.node: NodeType | None = catalogue[node] if node is not None else None
        self.parameters: dict[str, Any] = definition.parameters.get(name, {})
        self.called = _called(self.node, self.parameters)
        hidden = self.node.expressions if self.node is not None else frozenset()
        self.expressions = compile_expressions(self.node, self.parameters) if self.node is not None else []
        rest = {key: value for key, value in self.parameters.items() if key not in hidden}
        self.template: Template = compile_template(rest, extra_roots=blackboard_names(rest))
        self.retry = definition.retry.get(name, DEFAULT_RETRY)
        self.deadline: float | None = definition.timeouts.get(name)
        self.timer: StateTimer | None = definition.timers.get(name)
        self.user_input = name in definition.user_input_states
        self.is_terminal = False
        self.out: dict[str, list[Transition]] = {}
        self.joins: list[Transition] = []
        self.events: list[str] = []  # what moves the flow from it, or says that it is done, in the order of the flow


def _called(node: NodeType | None, parameters: Mapping[str, Any]) -> str:
    target = parameters.get(TARGET)
    registered = target.get("node_id") if isinstance(target, dict) else None
    return str(registered or (node.name if node is not None else ""))


class CompiledFlow:
    """All flow states with their ways out."""

    def __init__(self, definition: FlowDefinition, catalogue: Mapping[str, NodeType]) -> None:
        self.initial_state = definition.initial_state
        self.states = {name: FlowState(name, definition, catalogue) for name in definition.states}
        self.names = {name: name for name in definition.states}
        for index, defined in enumerate(definition.transitions):
            self._add(Transition(index, defined))
        for name in terminal_states(definition):
            self.states[name].is_terminal = True
        self.children = frozenset(
            str(state.parameters.get("workflow"))
            for state in self.states.values()
            if state.node is not None and state.node.name == "subworkflow"
        )

    def _add(self, transition: Transition) -> None:
        for source in transition.source:
            state = self.states[source]
            if transition.fan_in:
                state.joins.append(transition)
            else:
                state.out.setdefault(transition.event, []).append(transition)
            if not transition.fan_in or state.node is None:
                state.events.append(transition.event)

    def valid_events(self, active: list[str]) -> tuple[str, ...]:
        """The events that move the flow from one of these states, in the order of its definition."""
        return tuple(dict.fromkeys(event for name in active for event in self.states[name].events))

    def since(self, name: str, active: Sequence[str]) -> tuple[str, ...]:
        """What a flow leaves of ``active`` to be in the state ``name`` again, from which it has gone on.

        That is the state itself or where it led to. A fan-in of it was not taken, so what lies behind is no trace of
        it. Everything, if nothing lies on its way.
        """
        if name in active:
            return (name,)
        passed, todo = {name}, [name]
        while todo:
            state = self.states[todo.pop()]
            ways = [*(way for found in state.out.values() for way in found), *state.joins]
            fresh = {
                target for way in ways if not (way.fan_in and name in way.source) for target in way.target
            } - passed
            passed |= fresh
            todo.extend(fresh)
        return tuple(found for found in active if found in passed) or tuple(active)


def valid_events(definition: FlowDefinition, active: Sequence[str]) -> tuple[str, ...]:
    """What ``CompiledFlow.valid_events`` answers, without compiling: for those who only look at a flow."""
    nodes, out = definition.nodes, definition.transitions
    from_each = ((name, found) for name in active for found in out if name in found.source)
    return tuple(dict.fromkeys(found.event for name, found in from_each if not found.fan_in or name not in nodes))


def terminal_states(definition: FlowDefinition) -> tuple[str, ...]:
    """As declared; else what nothing leaves, with no node and nobody asked, and the last state if nothing leaves it."""
    if definition.terminal_states:
        return definition.terminal_states
    with_exit = {source for transition in definition.transitions for source in transition.source}
    with_exit.update(definition.timers)
    dull = [
        name
        for name in definition.states
        if name not in with_exit and name not in definition.nodes and name not in definition.user_input_states
    ]
    last = definition.states[-1]
    return tuple(dict.fromkeys([*dull, *([last] if last not in with_exit else [])]))
