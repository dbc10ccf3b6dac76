"""Calls an endpoint with a signed request and takes its result at once or later, as a callback."""

from __future__ import annotations

from interlock.core.callback import TARGET
from interlock.core.node_type import NodeType
from interlock.nodes.schema import literal, parameters
from interlock.nodes.webhook.call import (
    MAX_SECONDS,
    body_of,
    headers_of,
    read_reply,
    read_target,
)
from interlock.ports.node import Attempt, Done, Services, Suspend

CALL_SECONDS = 30.0
"""Time for the call itself; the result may come later."""
MAX_ANSWER = 1_048_576
"""Bytes of an answer that are read."""

_TARGET = parameters(
    {
        "endpoint": literal("Where to: http or https.", pattern=r"^https?://[^\s{}@]+$", maxLength=2048),
        "node_id": literal("In place of an endpoint: the id of a registered node.", pattern=r"^[A-Za-z0-9_.-]{1,64}$"),
        "timeout_seconds": {
            "description": "How long to wait for the result. Without it: as the node was registered, or an hour.",
            "type": "number",
            "exclusiveMinimum": 0,
            "maximum": MAX_SECONDS,
        },
    },
    oneOf=[{"required": ["endpoint"]}, {"required": ["node_id"]}],
)


class Webhook:
    """Satisfies ``ports/node.Node``."""

    type = NodeType(
        name="webhook",
        title="Webhook",
        description=(
            "Posts its parameters to an endpoint, signed as Standard Webhooks says, with a `callback_url` for the "
            "result. A 200 whose JSON body has a `status` of `success`, `error` or `need_user_input` is the result; "
            "any other 2xx means that it comes later. 408, 429, 5xx and no answer within 30 seconds are retryable, "
            "any other status fails with `HTTP_STATUS`, and redirects are not followed. No callback before the "
            "deadline fails with `TIMEOUT`. All attempts of a task send one `Idempotency-Key`."
        ),
        category="http",
        schema={
            "type": "object",
            "properties": {TARGET: {"description": "Whom to call. Every other parameter is sent.", **_TARGET}},
        },
        default_timeout=CALL_SECONDS + 30,
        calls_back=True,
        examples=(
            {
                "parameters": {
                    TARGET: {"endpoint": "https://svc.example/run", "timeout_seconds": 600},
                    "order": "{{ $json.id }}",
                },
                "output": {"shipped": True},
            },
        ),
    )

    async def run(self, attempt: Attempt, services: Services) -> Done | Suspend:
        target = read_target(attempt)
        call = await services.webhook_call(target.node_id, target.seconds)
        body = body_of(attempt, call)
        answer = await services.egress.request(
            "POST",
            call.endpoint or target.endpoint or "",
            headers=headers_of(attempt, call, body),
            body=body,
            timeout=CALL_SECONDS,
            max_bytes=MAX_ANSWER,
        )
        return read_reply(answer, call)


NODE = Webhook()
