"""One HTTP call through the guarded egress client."""

from __future__ import annotations

from interlock.core.node_type import NodeType
from interlock.nodes.http_request.answer import describe_failure, is_passing, read_answer
from interlock.nodes.http_request.call import (
    DEFAULT_TIMEOUT,
    MAX_BODY,
    MAX_TIMEOUT,
    METHODS,
    read_call,
)
from interlock.nodes.schema import anything, choice, mapping, number, parameters, text
from interlock.ports.node import Attempt, Done, NodeFailed, Services


class HttpRequest:
    """Satisfies ``ports/node.Node``."""

    type = NodeType(
        name="http_request",
        title="HTTP request",
        description=(
            "Calls a URL and gives `{status_code, headers, body}`, with `json` when the answer is JSON and "
            "`truncated: true` when the body was cut at 1 MiB. A status of 400 or more fails with `HTTP_STATUS` "
            "(retryable: 408, 429 and 5xx). Redirects are not followed. Addresses that are not public are refused "
            "unless the operator allows them. Every attempt of a task sends the same `Idempotency-Key`, except for "
            "GET, HEAD and OPTIONS."
        ),
        category="http",
        schema=parameters(
            {
                "url": text("Where to: http or https, without user name and password."),
                "method": choice("What to do.", *METHODS, default="GET"),
                "headers": mapping("Headers to send.", {"type": ["string", "number", "boolean"]}),
                "body": anything("A text is sent as it is, anything else as JSON; null or nothing sends no body."),
                "timeout": number(
                    "Seconds for the whole call.",
                    default=DEFAULT_TIMEOUT,
                    exclusiveMinimum=0,
                    maximum=MAX_TIMEOUT,
                ),
            },
            required=("url",),
        ),
        default_timeout=MAX_TIMEOUT + 30,
        examples=(
            {
                "parameters": {
                    "url": "https://shop.example/orders/{{ $json.id }}",
                    "method": "PUT",
                    "headers": {"Accept": "application/json"},
                    "body": {"status": "{{ $json.status }}"},
                    "timeout": 10,
                },
                "output": {"status_code": 200, "headers": {}, "body": '{"ok":true}', "json": {"ok": True}},
            },
        ),
    )

    async def run(self, attempt: Attempt, services: Services) -> Done:
        call = read_call(attempt)
        answer = await services.egress.request(
            call.method, call.url, headers=call.headers, body=call.body, timeout=call.timeout, max_bytes=MAX_BODY
        )
        output = read_answer(answer)
        if answer.status >= 400:
            message, details = describe_failure(call.method, call.url, output)
            raise NodeFailed("HTTP_STATUS", message, retryable=is_passing(answer.status), details=details)
        return Done(output=output)


NODE = HttpRequest()
