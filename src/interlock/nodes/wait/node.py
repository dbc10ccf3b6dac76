"""Rests for a time, until an instant, or until a signal comes."""

from __future__ import annotations

from interlock.core.engine.kernels import MAX_SECONDS
from interlock.core.node_type import NodeType
from interlock.nodes.schema import choice, number, parameters, text

TYPE = NodeType(
    name="wait",
    title="Wait",
    description=(
        "Rests durably and holds no worker: for `seconds`, `until` an instant, or until a `signal` of a name comes, "
        "which may also have come before. After a rest it gives `{waited_until}`, after a signal its payload. If no "
        "signal comes within `timeout_seconds`, it fails with `TIMEOUT`, or takes the port `timeout`."
    ),
    category="control",
    runs="kernel",
    schema=parameters(
        {
            "seconds": number("How long to rest.", minimum=0, maximum=MAX_SECONDS),
            "until": text("When to go on: an RFC 3339 time with its zone, such as 2027-01-31T08:00:00Z."),
            "signal": text("The name of the signal to wait for.", minLength=1, maxLength=128),
            "timeout_seconds": number(
                "How long to wait for the signal at most. Without it, for ever.",
                exclusiveMinimum=0,
                maximum=MAX_SECONDS,
            ),
            "on_timeout": choice(
                "What happens when no signal came: `fail`, or go on at the port `timeout`.",
                "fail",
                "continue",
                default="fail",
            ),
        },
        oneOf=[{"required": ["seconds"]}, {"required": ["until"]}, {"required": ["signal"]}],
        dependentRequired={"timeout_seconds": ["signal"], "on_timeout": ["timeout_seconds"]},
    ),
    ports=("result", "timeout"),
    examples=(
        {"parameters": {"seconds": 60}},
        {"parameters": {"until": "{{ $json.opens_at }}"}},
        {"parameters": {"signal": "payment_received", "timeout_seconds": 86400, "on_timeout": "continue"}},
    ),
)
