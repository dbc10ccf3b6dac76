"""Where an execution's input enters the graph."""

from __future__ import annotations

from interlock.core.node_type import NodeType
from interlock.nodes.schema import parameters

TYPE = NodeType(
    name="trigger",
    title="Trigger",
    description=(
        "Gives the data the execution was started with. A node without incoming connections gets the same data, so "
        "a trigger is only needed to make the beginning visible, or to begin at more than one place."
    ),
    category="trigger",
    runs="kernel",
    schema=parameters({}),
    examples=({"parameters": {}},),
)
