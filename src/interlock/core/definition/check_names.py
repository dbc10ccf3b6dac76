"""Names by which expressions and results tell nodes apart: known, and each of one node only."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping

from interlock.core.definition.layout import Layout
from interlock.core.definition.report import Place, Report, cut
from interlock.core.engine.graph.regions import ITERATION
from interlock.core.workflow import NodeDefinition


def check_names(layout: Layout, named: Mapping[str, Place], report: Report) -> None:
    """Every ``$node["x"]`` means one node, and results that stand side by side have different names."""
    owners = _owners(layout.nodes)
    for name, place in named.items():
        if name in owners and len(owners[name]) > 1:
            message = f'$node["{cut(name)}"] may mean {" or ".join(owners[name][:5])}'
            hint = "use the id of the node, or give the nodes different names"
            report.add("NAME_AMBIGUOUS", place, message, value=name, hint=hint)
    check_known(named, owners.keys(), report)
    _check_results(layout, report)


def check_known(named: Mapping[str, Place], known: Collection[str], report: Report) -> None:
    """Warn of names that no node has: as a missing path is null, they are."""
    for name, place in named.items():
        if name not in known:
            hint = report.nearest(name, known, "names") or "it will always be null"
            report.add("NODE_REFERENCE_UNKNOWN", place, f"No node is called '{cut(name)}'", value=name, hint=hint)


def _owners(nodes: Mapping[str, NodeDefinition]) -> dict[str, list[str]]:
    """The ids of the nodes behind every id and name."""
    owners: dict[str, list[str]] = defaultdict(list)
    for node_id, node in nodes.items():
        owners[node_id].append(node_id)
        if node.name and node.name != node_id:
            owners[node.name].append(node_id)
    return dict(owners)


def _check_results(layout: Layout, report: Report) -> None:
    for group in _result_groups(layout):
        first: dict[str, str] = {}
        for node_id in group:
            name = layout.nodes[node_id].name or node_id
            if name in first:
                message = f"'{first[name]}' and '{node_id}' both give a result called '{cut(name)}'"
                hint = "give the nodes different names"
                report.add("NAME_AMBIGUOUS", layout.places[node_id].at("name"), message, value=name, hint=hint)
            first.setdefault(name, node_id)


def _result_groups(layout: Layout) -> Iterable[Collection[str]]:
    """Nodes whose outputs together are the result of the graph or of an iteration."""
    going_on = {found.source for _, found in layout.forward if found.port != ITERATION}
    ends: dict[str, dict[str, None]] = defaultdict(dict)
    for node_id in layout.nodes:
        if node_id not in going_on:
            ends[layout.region[node_id]][node_id] = None
    leading_back: dict[str, dict[str, None]] = defaultdict(dict)
    for _, found in layout.back:
        leading_back[found.target][found.source] = None
    return (ends | leading_back).values()
