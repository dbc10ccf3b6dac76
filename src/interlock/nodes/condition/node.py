"""Chooses which connections go on."""

from __future__ import annotations

from interlock.core.engine.kernels import MAX_CASES
from interlock.core.node_type import NodeType
from interlock.nodes.schema import NAME, literal, parameters

_MAX_EXPRESSION = 4096

_CASE = parameters(
    {
        "port": literal("The port to take.", pattern=NAME),
        "when": literal("A bare expression; the case holds if its value is truthy.", maxLength=_MAX_EXPRESSION),
    },
    required=("port", "when"),
)

TYPE = NodeType(
    name="condition",
    title="Condition",
    description=(
        "With `condition_expression`, takes the port `true` or `false`. With `cases`, takes the port of the first case "
        "that holds, else `default`. Gives `{data, condition_result}` with the data that came in. Connections of "
        "other ports are dead. In a flow it raises `CONDITION_TRUE` or `CONDITION_FALSE`. Both parameters are bare "
        "expressions, without `{{ }}`."
    ),
    category="control",
    runs="kernel",
    schema=parameters(
        {
            "condition_expression": literal("A bare expression.", minLength=1, maxLength=_MAX_EXPRESSION),
            "cases": {
                "description": "Ports and their bare expressions, tried in this order.",
                "type": "array",
                "items": _CASE,
                "minItems": 1,
                "maxItems": MAX_CASES,
            },
        },
        oneOf=[{"required": ["condition_expression"]}, {"required": ["cases"]}],
    ),
    ports=("true", "false", "default"),
    expressions=frozenset({"condition_expression", "cases"}),
    examples=(
        {"parameters": {"condition_expression": "$json.total > 100 and $json.country in ['DE', 'FR']"}},
        {
            "parameters": {
                "cases": [
                    {"port": "large", "when": "data.total >= 1000"},
                    {"port": "small", "when": "data.total > 0"},
                ]
            }
        },
    ),
)
