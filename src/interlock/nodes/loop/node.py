"""Runs its body again and again, one iteration after the other."""

from __future__ import annotations

from interlock.core.engine.kernels import MAX_ITEMS, MAX_ITERATIONS
from interlock.core.node_type import NodeType
from interlock.nodes.schema import integer, listing, literal, parameters

TYPE = NodeType(
    name="loop",
    title="Loop",
    description=(
        "Runs the nodes behind its port `iteration` one iteration after the other: over `items`, a number of `times`, "
        "or `while` an expression holds. In the body `$loop.index`, `$loop.item` and `$loop.previous` (the result of "
        "the iteration before) are there. The port `completed` gives the list of all results. `while` is a bare "
        "expression, asked before each iteration; `$json` is the result before it, at first the node's data. Only in "
        "a graph."
    ),
    category="control",
    runs="kernel",
    schema=parameters(
        {
            "items": listing("The items. Without it, `times` and `while`: the node's data.", maxItems=MAX_ITEMS),
            "times": integer("How many iterations.", minimum=0, maximum=MAX_ITERATIONS),
            "while": literal("A bare expression, without `{{ }}`.", minLength=1, maxLength=4096),
            "max_iterations": integer(
                "Where a `while` loop ends even if its expression still holds.",
                default=100,
                minimum=1,
                maximum=MAX_ITERATIONS,
            ),
        },
        allOf=[{"not": {"required": pair}} for pair in (["items", "times"], ["items", "while"], ["times", "while"])],
        dependentRequired={"max_iterations": ["while"]},
    ),
    ports=("iteration", "completed"),
    data_parameter="items",
    expressions=frozenset({"while"}),
    examples=(
        {"parameters": {"times": 3}},
        {"parameters": {"while": "$loop.index < 10 and $json.next_page != null", "max_iterations": 10}},
        {"parameters": {"items": "{{ $json.orders }}"}},
    ),
)
