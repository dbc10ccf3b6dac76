"""The rules of a flow as a whole: its states, what runs in them, and the transitions between them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from interlock.core.definition.check_expressions import Expressions
from interlock.core.definition.check_names import check_known
from interlock.core.definition.check_parameters import CheckParameters, ParameterRules
from interlock.core.definition.check_ranges import FLOW_NAMES, check_duration, check_retry
from interlock.core.definition.check_transitions import check_transitions
from interlock.core.definition.check_values import Values
from interlock.core.definition.limits import EVENT, MAX_STATES, MAX_TIMER, MAX_TRANSITIONS, MIN_STATES, STATE_NAME
from interlock.core.definition.report import Place, Report, cut
from interlock.core.engine.flow.blackboard_names import blackboard_names
from interlock.core.engine.graph.regions import LOOP_TYPES
from interlock.core.node_type import NodeType
from interlock.core.workflow import FlowDefinition


def check_flow(
    definition: FlowDefinition,
    catalogue: Mapping[str, NodeType],
    check_parameters: CheckParameters,
    report: Report,
    written: Mapping[str, str],
) -> None:
    """Report everything that keeps a flow from being compiled and run.

    ``written`` are the node references by flow state as their author spelled them, where that is known.
    """
    if _is_too_large(definition, report):
        return
    expressions = Expressions(report)
    _check_states(definition, report)
    check_transitions(definition, expressions, report)
    _check_nodes(definition, catalogue, report, written)
    rules = ParameterRules(report, Values(report), expressions, check_parameters)
    _check_parameters(definition, catalogue, rules, report)
    _check_times(definition, report)
    check_known(expressions.named, definition.states, report)


def _is_too_large(definition: FlowDefinition, report: Report) -> bool:
    for name, found, limit in (
        ("states", len(definition.states), MAX_STATES),
        ("transitions", len(definition.transitions), MAX_TRANSITIONS),
    ):
        if found > limit:
            message = f"The flow has {found} {name}, at most {limit} are allowed"
            report.add("TOO_LARGE", Place(name), message, value=found)
    return any(problem.code == "TOO_LARGE" for problem in report.problems)


def _check_states(definition: FlowDefinition, report: Report) -> None:
    if len(definition.states) < MIN_STATES:
        message = f"Flow must have at least {MIN_STATES} states"
        report.add(
            "FLOW_TOO_SMALL", Place("states"), message, value=len(definition.states), hint="states: [start, end]"
        )
    seen: set[str] = set()
    for index, name in enumerate(definition.states):
        place = Place("states", name).at(index)
        if not STATE_NAME.fullmatch(name):
            message, hint = f"The state name '{cut(name)}' is not allowed", f"it must match {STATE_NAME.pattern}"
            report.add("ID_INVALID", place, message, value=name, hint=hint)
        elif name in seen:
            report.add("ID_DUPLICATE", place, f"The state '{name}' is there twice", value=name, hint="remove one")
        seen.add(name)
    if definition.states:
        _check_known((("initial_state", definition.initial_state),), "Unknown initial state", seen, report)
    _check_known(_indexed("user_input_states", definition.user_input_states), "Unknown user input state", seen, report)
    _check_known(_indexed("terminal_states", definition.terminal_states), "Unknown terminal state", seen, report)
    for key, names in (
        ("state_node_map", definition.nodes),
        ("state_params", definition.parameters),
        ("retry", definition.retry),
        ("timeouts", definition.timeouts),
        ("timers", definition.timers),
    ):
        paths = ((Place(key).at(name).path, name) for name in names)
        _check_known(paths, f"Unknown state in {key}", seen, report)


def _indexed(path: str, names: Iterable[str]) -> Iterable[tuple[str, str]]:
    return ((f"{path}[{index}]", name) for index, name in enumerate(names))


def _check_known(named: Iterable[tuple[str, str]], message: str, states: set[str], report: Report) -> None:
    for path, name in named:
        if name not in states:
            hint = report.nearest(name, states, "states") or "add it to states"
            report.add("STATE_UNKNOWN", Place(path), f"{message}: '{cut(name)}'", value=name, hint=hint)


def _check_nodes(
    definition: FlowDefinition, catalogue: Mapping[str, NodeType], report: Report, written: Mapping[str, str]
) -> None:
    for name, reference in definition.nodes.items():
        place, node_type = Place("state_node_map", name).at(name), catalogue.get(reference)
        if node_type is None:
            spelled = written.get(name, reference)
            hint = (
                report.nearest(reference, catalogue.keys(), "types") or "write builtin:// and the name of a node type"
            )
            report.add(
                "NODE_TYPE_UNKNOWN", place, f"Unknown node reference: '{cut(spelled)}'", value=spelled, hint=hint
            )
        elif node_type.runs == "kernel" and node_type.name in LOOP_TYPES:
            message = f"A {node_type.name} node needs a graph around it"
            hint = "use a sub-workflow that is a graph, or a transition back"
            report.add("NODE_NOT_IN_FLOW", place, message, value=reference, hint=hint)
        elif node_type.name == "wait" and "signal" in definition.parameters.get(name, {}):
            message = "In a flow a signal is an event: a state without a node waits for it"
            hint = f"take the node away from {cut(name, 64)} and add {{from: {cut(name, 64)}, event: …, to: …}}"
            report.add("NODE_NOT_IN_FLOW", place, message, value=reference, hint=hint)


def _check_parameters(
    definition: FlowDefinition, catalogue: Mapping[str, NodeType], rules: ParameterRules, report: Report
) -> None:
    for name in {**definition.parameters, **definition.nodes}:
        node_type = catalogue.get(definition.nodes.get(name, ""))
        parameters = definition.parameters.get(name, {})
        place, roots = Place("state_params", name).at(name), blackboard_names(parameters)
        if node_type is None:
            rules.check_untyped(parameters, place, extra_roots=roots)
        elif not report.is_full:
            rules.check(node_type, parameters, place, extra_roots=roots, is_complete=False, is_lenient=True)


def _check_times(definition: FlowDefinition, report: Report) -> None:
    for name, policy in definition.retry.items():
        check_retry(policy, Place("retry", name).at(name), report, FLOW_NAMES)
    for name, seconds in definition.timeouts.items():
        check_duration(seconds, Place("timeouts", name).at(name), report)
    left_by = {(source, found.event) for found in definition.transitions if not found.fan_in for source in found.source}
    for name, timer in definition.timers.items():
        place = Place("timers", name).at(name)
        check_duration(timer.after, place.at("after"), report, most=MAX_TIMER)
        if not EVENT.fullmatch(timer.event):
            message, hint = f"The event '{cut(timer.event)}' is not allowed", f"it must match {EVENT.pattern}"
            report.add("ID_INVALID", place.at("event"), message, value=timer.event, hint=hint)
        elif (name, timer.event) not in left_by:
            message = f"No transition leaves '{cut(name)}' on the event '{timer.event}' of its timer"
            hint = f"add {{from: {cut(name, 64)}, event: {timer.event}, to: …}}"
            report.add("TIMER_WITHOUT_TRANSITION", place.at("event"), message, value=timer.event, hint=hint)
