"""A chat with a model."""

from __future__ import annotations

from typing import Any

from interlock.core.node_type import NodeType
from interlock.nodes.schema import integer, listing, mapping, number, parameters, text
from interlock.ports.node import Attempt, Done, NodeFailed, Services


class LlmChat:
    """Satisfies ``ports/node.Node``."""

    type = NodeType(
        name="llm_chat",
        title="Chat with a model",
        description=(
            "Asks a model of the gateway and gives `{content, model, usage, finish_reason}`, with `tool_calls` if the "
            "model wants some. Give a `prompt`, or `messages` in OpenAI's shape. Whoever started the execution pays. "
            "All attempts of a task get the answer that was recorded first, which is paid once. A provider that does "
            "not answer fails with `LLM_PROVIDER_ERROR`, a budget without room with `BUDGET_EXCEEDED`."
        ),
        category="models",
        schema=parameters(
            {
                "model": text("Name of the model.", default="qwen-max"),
                "prompt": text("What to ask; in place of messages."),
                "system": text("What the model is told first."),
                "messages": listing("A conversation: objects with role and content."),
                "temperature": number("How freely it answers.", minimum=0, maximum=2),
                "max_tokens": integer("Longest answer.", minimum=1),
                "options": mapping("Further fields for the provider, as they are."),
            }
        ),
        default_timeout=330.0,
        examples=(
            {
                "parameters": {"model": "qwen-max", "prompt": "Sum up: {{ $json.text }}", "max_tokens": 200},
                "output": {
                    "content": "…",
                    "model": "qwen-max",
                    "usage": {"input_tokens": 12, "output_tokens": 40},
                    "finish_reason": "stop",
                },
            },
        ),
    )

    async def run(self, attempt: Attempt, services: Services) -> Done:
        return Done(output=_output(await services.model_call("chat", _body(attempt.parameters))))


def _body(given: dict[str, Any]) -> dict[str, Any]:
    options = given.get("options") or {}
    if not isinstance(options, dict):
        raise _invalid("options", "an object", options)
    body = {**options, "model": given.get("model") or "qwen-max", "messages": _messages(given)}
    for name in ("temperature", "max_tokens"):
        if given.get(name) is not None:
            body[name] = given[name]
    return body


def _messages(given: dict[str, Any]) -> list[Any]:
    given_messages = given.get("messages") or []
    if not isinstance(given_messages, list) or not all(isinstance(one, dict) for one in given_messages):
        raise _invalid("messages", "a list of objects with role and content", given_messages)
    messages = list(given_messages)
    if given.get("system"):
        messages.insert(0, {"role": "system", "content": given["system"]})
    if given.get("prompt") is not None:
        messages.append({"role": "user", "content": str(given["prompt"])})
    if not messages:
        raise NodeFailed("PARAMETER_INVALID", "There is nothing to ask: give a prompt or messages.")
    return messages


def _invalid(name: str, wanted: str, value: Any) -> NodeFailed:
    return NodeFailed("PARAMETER_INVALID", f"The parameter {name} must be {wanted}, not {str(value)[:100]!r}.")


def _output(answer: dict[str, Any]) -> dict[str, Any]:
    choices = answer.get("choices") or [{}]
    message, usage = choices[0].get("message") or {}, answer.get("usage") or {}
    output = {
        "content": message.get("content") or "",
        "model": answer.get("model"),
        "usage": {
            "input_tokens": usage.get("prompt_tokens", 0),
            "output_tokens": usage.get("completion_tokens", 0),
        },
        "finish_reason": choices[0].get("finish_reason"),
    }
    return output | ({"tool_calls": message["tool_calls"]} if message.get("tool_calls") else {})


NODE = LlmChat()
