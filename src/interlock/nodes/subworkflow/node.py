"""Runs another workflow as a child execution."""

from __future__ import annotations

from interlock.core.node_type import NodeType
from interlock.nodes.schema import anything, literal, parameters

TYPE = NodeType(
    name="subworkflow",
    title="Sub-workflow",
    description=(
        "Starts an execution of another workflow and waits for its end, which may be days away. Gives its output; if "
        "it fails, so does this node, with the child's code. Cancelling the parent cancels the child. A workflow that "
        "does not exist fails with `WORKFLOW_NOT_FOUND`."
    ),
    category="control",
    runs="kernel",
    schema=parameters(
        {
            "workflow": literal(
                "Id or name of the workflow. No expressions: it is looked up before the node runs.",
                minLength=1,
                maxLength=256,
                pattern=r"^(?!.*\{\{)",
            ),
            "input": anything("What the child is started with. Without it: the node's data."),
        },
        required=("workflow",),
    ),
    data_parameter="input",
    examples=({"parameters": {"workflow": "refund_customer", "input": {"order": "{{ $json.order }}"}}},),
)
