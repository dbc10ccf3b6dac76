"""Runs its body once per item, many at a time."""

from __future__ import annotations

from interlock.core.engine.kernels import DEFAULT_CONCURRENCY, MAX_ITEMS
from interlock.core.node_type import NodeType
from interlock.nodes.schema import integer, listing, parameters

_MAX_CONCURRENCY = 10_000

TYPE = NodeType(
    name="map",
    title="Map",
    description=(
        "Runs the nodes behind its port `iteration` once per item, independently and in parallel; there `$loop.item` "
        "is the item and `$loop.index` its place. When all are done, the port `completed` gives the list of their "
        f"results in the order of the items. At most {MAX_ITEMS:,} items or batches. Only in a graph."
    ),
    category="control",
    runs="kernel",
    schema=parameters(
        {
            "items": listing("The items. Without it: the node's data.", maxItems=MAX_ITEMS),
            "batch_size": integer("Give an iteration so many items at once, as a list; 0: one item.", minimum=0),
            "concurrency": integer(
                "How many iterations are live at a time.",
                default=DEFAULT_CONCURRENCY,
                minimum=1,
                maximum=_MAX_CONCURRENCY,
            ),
        }
    ),
    ports=("iteration", "completed"),
    data_parameter="items",
    examples=({"parameters": {"items": "{{ $json.records }}", "batch_size": 100, "concurrency": 8}},),
)
