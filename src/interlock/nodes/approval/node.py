"""Asks a person and waits for the decision."""

from __future__ import annotations

from interlock.core.node_type import NodeType
from interlock.nodes.schema import (
    NAME,
    Schema,
    anything,
    choice,
    integer,
    listing,
    mapping,
    parameters,
    switch,
    text,
)

_MAX_TIMEOUT = 2_592_000
_DEFAULT_TIMEOUT = 3600


def _people(description: str) -> Schema:
    return listing(description, {"type": "string", "minLength": 1, "maxLength": 256}, maxItems=100)


def _needs(on_timeout: str, parameter: str) -> Schema:
    chosen = {"properties": {"on_timeout": {"const": on_timeout}}, "required": ["on_timeout"]}
    return {"if": chosen, "then": {"required": [parameter]}}


_FIELD = parameters(
    {
        "name": text("The key of the answer.", pattern=NAME),
        "label": text("What people read."),
        "field_type": text("How it is entered: text, number, boolean, date, select and so on.", default="text"),
        "required": switch("Whether an answer must have it."),
        "options": listing("The values to choose from."),
        "validation": mapping("A JSON schema for the value."),
    },
    required=("name",),
)

TYPE = NodeType(
    name="approval",
    title="Approval",
    description=(
        "Asks durably and waits. An approval takes the port `confirmed`, a refusal `rejected`, both with `{response, "
        "approved, selected, data, reason, responder, responded_at, interaction_id}`. If nobody answers in time, "
        "`on_timeout` says what happens: `fail` with `HIL_TIMEOUT`, go on at the port `timeout`, take the "
        "`default_response`, or ask the people of `escalate_to`. In a flow it raises `APPROVED`, `REJECTED` or "
        "`TIMEOUT`."
    ),
    category="human",
    runs="kernel",
    schema=parameters(
        {
            "title": text("What is asked, in a line."),
            "description": text("What a person must know to decide. Markdown."),
            "interaction_type": choice(
                "What kind of answer is wanted.", "approval", "input", "selection", "review", default="approval"
            ),
            "request": anything("What is shown with the question. Without it: the node's data."),
            "fields": listing("What may be filled in or changed.", _FIELD, maxItems=100),
            "options": listing(
                "Answers to choose from; each of them approves.",
                {"type": "string", "minLength": 1, "maxLength": 256},
                maxItems=100,
            ),
            "assignees": _people("Who may decide. Without it: everybody with the scope."),
            "priority": choice("How urgent it is.", "low", "normal", "high", "critical", default="normal"),
            "reason_required": switch("Whether a decision needs a reason."),
            "forbid_requester": switch("Whether who started the execution may not decide."),
            "timeout_seconds": integer(
                "How long to wait for an answer.", default=_DEFAULT_TIMEOUT, minimum=1, maximum=_MAX_TIMEOUT
            ),
            "on_timeout": choice(
                "What happens then.", "fail", "continue", "default_response", "escalate", default="fail"
            ),
            "default_response": anything("The answer for `default_response`: true, or `{approved: true, …}`."),
            "escalate_to": _people("Who is asked for `escalate`."),
        },
        allOf=[_needs("escalate", "escalate_to"), _needs("default_response", "default_response")],
    ),
    ports=("confirmed", "rejected", "timeout"),
    data_parameter="request",
    examples=(
        {
            "parameters": {
                "title": "Publish {{ $json.count }} flagged records?",
                "assignees": ["role:editor"],
                "reason_required": True,
                "timeout_seconds": 86400,
                "on_timeout": "escalate",
                "escalate_to": ["role:admin"],
            }
        },
        {
            "parameters": {
                "title": "Which supplier?",
                "interaction_type": "selection",
                "options": ["north", "south"],
                "fields": [{"name": "quantity", "field_type": "number", "required": True}],
            }
        },
    ),
)
