"""OpenAI's Responses vocabulary over a chat: texts and pictures in, a text out, nothing kept between two calls."""

from __future__ import annotations

from typing import Any

from interlock.core.errors import rule_broken
from interlock.core.models.prices import Usage

_NOT_HERE = ("previous_response_id", "conversation", "tools", "background", "prompt")
_NOT_FOR_CHATS = frozenset(("input", "instructions", "max_output_tokens", "store", "include", "truncation", "text"))


def chat_of(body: dict[str, Any]) -> dict[str, Any]:
    """The chat that a request for a response stands for. Raises RULE for what needs more than one chat."""
    for name in _NOT_HERE:
        if body.get(name):
            message = f"{name} is not served here; /v1/chat/completions takes tools and whole conversations"
            raise rule_broken("UNSUPPORTED_FIELD", message, field=name)
    chat = {name: value for name, value in body.items() if name not in (*_NOT_FOR_CHATS, *_NOT_HERE)}
    first = [{"role": "system", "content": body["instructions"]}] if body.get("instructions") else []
    chat["messages"] = [*first, *_messages(body.get("input"))]
    if body.get("max_output_tokens") is not None:
        chat["max_tokens"] = body["max_output_tokens"]
    wanted = _format(body.get("text"))
    return chat if wanted is None else {**chat, "response_format": wanted}


def _format(text: Any) -> dict[str, Any] | None:
    """The form of the answer, in the words of chats; None for a plain text."""
    wanted = text.get("format") if isinstance(text, dict) else None
    match wanted:
        case None | {"type": "text"}:
            return None
        case {"type": "json_object"}:
            return {"type": "json_object"}
        case {"type": "json_schema", **schema}:
            return {"type": "json_schema", "json_schema": schema}
    raise rule_broken("UNSUPPORTED_FIELD", "text.format may be text, json_object or json_schema", field="text")


def _messages(given: Any) -> list[dict[str, Any]]:
    if isinstance(given, str):
        return [{"role": "user", "content": given}]
    if not isinstance(given, list) or not given:
        raise rule_broken("VALIDATION_ERROR", "input must be a text or a list of messages", field="input")
    return [_message(item) for item in given]


def _message(item: Any) -> dict[str, Any]:
    if not isinstance(item, dict) or item.get("type", "message") != "message":
        raise rule_broken("UNSUPPORTED_FIELD", "input may hold messages only", field="input")
    content = item.get("content")
    role = "system" if item.get("role") == "developer" else item.get("role")
    return {"role": role, "content": [_part(one) for one in content] if isinstance(content, list) else content}


def _part(part: Any) -> dict[str, Any]:
    kind = part.get("type") if isinstance(part, dict) else None
    if kind in ("input_text", "output_text", "text"):
        return {"type": "text", "text": part.get("text", "")}
    if kind == "input_image":
        return {"type": "image_url", "image_url": {"url": part.get("image_url", "")}}
    raise rule_broken("UNSUPPORTED_FIELD", "a message may hold texts and pictures only", field="input")


def message_item(response_id: str, text: str, status: str) -> dict[str, Any]:
    """The one item of the output."""
    content = [text_part(text)] if status != "in_progress" else []
    item_id = response_id.replace("resp_", "msg_", 1)
    return {"id": item_id, "type": "message", "role": "assistant", "status": status, "content": content}


def text_part(text: str) -> dict[str, Any]:
    """The one part of that item."""
    return {"type": "output_text", "text": text, "annotations": []}


def response_object(
    response_id: str,
    created_at: int,
    model: str,
    *,
    text: str | None = None,
    reason: str | None = None,
    usage: Usage | None = None,
) -> dict[str, Any]:
    """The response; without a ``text`` it is under way. ``created_at`` is seconds since 1970."""
    is_cut = reason == "length"
    status = "in_progress" if text is None else ("incomplete" if is_cut else "completed")
    return {
        "id": response_id,
        "object": "response",
        "created_at": created_at,
        "status": status,
        "model": model,
        "output": [] if text is None else [message_item(response_id, text, status)],
        "usage": None if usage is None else _usage(usage),
        "error": None,
        "incomplete_details": {"reason": "max_output_tokens"} if is_cut and text is not None else None,
        "instructions": None,
        "metadata": {},
        "parallel_tool_calls": False,
        "temperature": None,
        "tool_choice": "none",
        "tools": [],
        "top_p": None,
    }


def _usage(usage: Usage) -> dict[str, Any]:
    return {
        "input_tokens": usage.input_tokens,
        "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
        "output_tokens": usage.output_tokens,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": usage.input_tokens + usage.output_tokens,
    }
