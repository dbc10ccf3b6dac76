"""Names by which expressions find nodes: known, and each of one node only."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping

from interlock.core.definition.report import Place, Report, cut
from interlock.core.workflow import NodeDefinition


def check_names(nodes: Mapping[str, NodeDefinition], named: Mapping[str, Place], report: Report) -> None:
    """Every ``$node["x"]`` means one node. One that means none is a warning, as a missing path is null."""
    owners = names_of(nodes)
    for name, place in named.items():
        meant = owners.get(name, ())
        if not meant:
            check_unknown(name, owners.keys(), place, report)
        elif len(meant) > 1:
            message = f'$node["{name}"] may mean {" or ".join(meant[:5])}'
            hint = "use the id of the node, or give the nodes different names"
            report.add("NAME_AMBIGUOUS", place, message, value=name, hint=hint)


def names_of(nodes: Mapping[str, NodeDefinition]) -> dict[str, list[str]]:
    """The ids of the nodes behind every id and name."""
    owners: dict[str, list[str]] = defaultdict(list)
    for node_id, node in nodes.items():
        owners[node_id].append(node_id)
        if node.name and node.name != node_id:
            owners[node.name].append(node_id)
    return dict(owners)


def check_unknown(name: str, known: Iterable[str], place: Place, report: Report) -> None:
    """Warn of a name that no node has."""
    words = list(known)
    hint = report.nearest(name, words) or "it will always be null"
    report.add("NODE_REFERENCE_UNKNOWN", place, f"No node is called '{cut(name)}'", value=name, hint=hint)
