"""The rules of a graph as a whole: its nodes, what joins them, and its settings."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping

from interlock.core.definition.check_expressions import Expressions
from interlock.core.definition.check_loops import check_loops
from interlock.core.definition.check_names import check_names
from interlock.core.definition.check_parameters import CheckParameters, ParameterRules
from interlock.core.definition.check_ranges import check_duration, check_resources, check_retry, check_whole
from interlock.core.definition.check_values import Values
from interlock.core.definition.layout import Indexed, Layout
from interlock.core.definition.limits import ID, MAX_CONNECTIONS, MAX_LOOPS, MAX_NAME, MAX_NODES, MAX_PARALLEL
from interlock.core.definition.report import Place, Report, cut
from interlock.core.engine.graph.regions import COMPLETED, ITERATION, LOOP_TYPES
from interlock.core.node_type import NodeType
from interlock.core.workflow import ConnectionDefinition, GraphDefinition, NodeDefinition

_SHOWN = 30  # node types in a hint


def check_graph(
    definition: GraphDefinition, catalogue: Mapping[str, NodeType], check_parameters: CheckParameters, report: Report
) -> None:
    """Report everything that keeps a graph from being compiled and run."""
    if _is_too_large(definition, report):
        return
    nodes = _nodes_by_id(definition, report)
    values, expressions = Values(report), Expressions(report)
    rules = ParameterRules(report, values, expressions, check_parameters)
    for index, node in enumerate(definition.nodes):
        place = Place(f"nodes[{index}]", node.id)
        _check_node(node, place, report, values)
        node_type = _find_type(node, catalogue, place, report)
        if node_type is None:
            rules.check_untyped(node.parameters, place.at("parameters"))
        elif not report.is_full:
            rules.check(node_type, node.parameters, place.at("parameters"))
    sound = _check_ends(definition, nodes, report)
    for index, connection in sound:
        _check_connection(connection, Place(f"connections[{index}]", connection.source), report, values, expressions)
        _check_port(connection, nodes[connection.source], catalogue, index, report)
    layout = Layout(definition, nodes, sound)
    check_loops(layout, report)
    _check_settings(definition, report, values, expressions)
    check_names(layout, expressions.named, report)


def _is_too_large(definition: GraphDefinition, report: Report) -> bool:
    loops = sum(node.type in LOOP_TYPES for node in definition.nodes)
    if not definition.nodes:
        report.add("NODES_MISSING", Place("nodes"), "A graph needs at least one node", hint="add {id: …, type: …}")
    for name, path, found, limit in (
        ("nodes", "nodes", len(definition.nodes), MAX_NODES),
        ("connections", "connections", len(definition.connections), MAX_CONNECTIONS),
        ("loops", "nodes", loops, MAX_LOOPS),
    ):
        if found > limit:
            message = f"The graph has {found} {name}, at most {limit} are allowed"
            report.add("TOO_LARGE", Place(path), message, value=found, hint="use sub-workflows or map")
    return any(problem.code == "TOO_LARGE" for problem in report.problems)


def _nodes_by_id(definition: GraphDefinition, report: Report) -> dict[str, NodeDefinition]:
    nodes: dict[str, NodeDefinition] = {}
    for index, node in enumerate(definition.nodes):
        place = Place(f"nodes[{index}].id", node.id)
        if not ID.fullmatch(node.id):
            hint = f"it must match {ID.pattern}"
            report.add("ID_INVALID", place, f"The id '{cut(node.id)}' is not allowed", value=node.id, hint=hint)
        elif node.id in nodes:
            message = f"The id '{node.id}' is used twice"
            report.add("ID_DUPLICATE", place, message, value=node.id, hint="give each node its own id")
        nodes.setdefault(node.id, node)
    return nodes


def _check_node(node: NodeDefinition, place: Place, report: Report, values: Values) -> None:
    if len(node.name) > MAX_NAME:
        message = f"The name has {len(node.name)} characters, at most {MAX_NAME} are allowed"
        report.add("TOO_LARGE", place.at("name"), message, value=node.name)
    if node.input:
        values.check(node.input, place.at("input"))
    check_retry(node.retry, place.at("retry"), report)
    check_duration(node.timeout, place.at("timeout"), report)
    check_duration(node.deadline, place.at("deadline"), report)
    check_duration(node.heartbeat, place.at("heartbeat"), report)
    if node.resources is not None:
        check_resources(node.resources, place.at("resources"), report)


def _find_type(
    node: NodeDefinition, catalogue: Mapping[str, NodeType], place: Place, report: Report
) -> NodeType | None:
    found = catalogue.get(node.type)
    if found is None:
        hint = report.nearest(node.type, catalogue.keys(), "types") or f"known: {', '.join(sorted(catalogue)[:_SHOWN])}"
        message = f"Unknown node type '{cut(node.type)}'"
        report.add("NODE_TYPE_UNKNOWN", place.at("type"), message, value=node.type, hint=hint)
    elif found.runs == "kernel" and node.resources is not None:
        message = f"'{found.name}' is carried out by the engine itself and needs no resources"
        report.add("VALUE_NOT_ALLOWED", place.at("resources"), message, hint="leave resources out")
    return found


def _check_ends(definition: GraphDefinition, nodes: Mapping[str, NodeDefinition], report: Report) -> Indexed:
    """Connections whose ends exist and differ."""
    sound: Indexed = []
    for index, connection in enumerate(definition.connections):
        place = Place(f"connections[{index}]")
        missing = [(key, end) for key, end in _ends(connection) if end not in nodes]
        for key, end in missing:
            message = f"The connection names a node '{cut(end)}' that does not exist"
            hint = report.nearest(end, nodes.keys(), "nodes") or "write the id of a node"
            report.add("CONNECTION_DANGLING", place.at(key), message, value=end, hint=hint)
        if connection.source == connection.target and not missing:
            place = Place(place.path, connection.source)
            message = f"Node '{connection.source}' is connected to itself"
            report.add("CONNECTION_SELF", place, message, hint="repeat a node with a loop around it")
        elif not missing:
            sound.append((index, connection))
    return sound


def _ends(connection: ConnectionDefinition) -> tuple[tuple[str, str], tuple[str, str]]:
    return ("from", connection.source), ("to", connection.target)


def _check_connection(
    connection: ConnectionDefinition, place: Place, report: Report, values: Values, expressions: Expressions
) -> None:
    if not ID.fullmatch(connection.into):
        message = f"'{cut(connection.into)}' cannot be the name of an input"
        report.add("ID_INVALID", place.at("into"), message, value=connection.into, hint=f"it must match {ID.pattern}")
    if connection.when is not None:
        expressions.check_bare(connection.when, place.at("when"))
    if connection.mapping is not None:
        mapping = place.at("mapping")
        expressions.check_template(values.check(connection.mapping, mapping) or (), mapping)


def _check_port(
    connection: ConnectionDefinition,
    source: NodeDefinition,
    catalogue: Mapping[str, NodeType],
    index: int,
    report: Report,
) -> None:
    node_type = catalogue.get(source.type)
    if node_type is None:
        return
    ports = ports_of(source, node_type)
    if connection.port not in ports:
        place = Place(f"connections[{index}].port", source.id)
        hint = (
            report.nearest(connection.port, ports, f"ports of {source.id}") or f"write port: one of {', '.join(ports)}"
        )
        if connection.port == "error":
            hint = "give the node on_error: error_output"
        message = f"Node '{source.id}' ({node_type.name}) has no port '{cut(connection.port)}'"
        report.add("PORT_UNKNOWN", place, message, value=connection.port, hint=hint)


def ports_of(node: NodeDefinition, node_type: NodeType) -> tuple[str, ...]:
    """The ports by which a node can be left, in the order of its type."""
    lists: dict[str, list[str]] = defaultdict(list)
    for name in sorted(node_type.expressions & node.parameters.keys()):
        if isinstance(node.parameters[name], list):
            lists[name].extend(str(case.get("port")) for case in node.parameters[name] if isinstance(case, dict))
    cases = [port for ports in lists.values() for port in ports]
    has_text = any(isinstance(node.parameters.get(name), str) for name in node_type.expressions)
    found = list(node_type.ports) if has_text or not lists else []
    if lists:
        found += [*cases, "default"]
    if node.type in LOOP_TYPES:
        found += [ITERATION, COMPLETED, "result"]
    if node.on_error == "error_output":
        found.append("error")
    if node.on_error == "continue":
        found.append("result")
    return tuple(dict.fromkeys(found))


def _check_settings(definition: GraphDefinition, report: Report, values: Values, expressions: Expressions) -> None:
    settings, place = definition.settings, Place("settings")
    check_whole(settings.max_parallel, 1, MAX_PARALLEL, place.at("max_parallel"), report)
    check_duration(settings.timeout, place.at("timeout"), report)
    if settings.output is not None:
        output = place.at("output")
        expressions.check_template(values.check(settings.output, output) or (), output)
