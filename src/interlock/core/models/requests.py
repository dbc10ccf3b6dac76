"""What may be asked of a model: the caller's body, checked where it matters to us and otherwise left as it is."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from interlock.core.errors import InterlockError, rule_broken
from interlock.core.models.addresses import FIELD_NOT_ALLOWED, check_addresses
from interlock.core.models.prices import Usage
from interlock.core.models.tokens import bound_chat, bound_inputs, count_chat, count_inputs

DEFAULT_MAX_TOKENS = 4_096
"""Tokens of an answer that are set aside, and with a budget asked for, when the caller names no limit."""
MAX_MODELS = 8
MAX_INPUTS = 2_048
MAX_DIMENSIONS = 8_192

_OURS = frozenset(("base_url", "api_base", "api_key", "api_version", "proxy", "proxies", "organization", "headers"))
_OURS |= {"extra_headers", "default_headers", "custom_provider", "custom_llm_provider", "extra_body", "extra_query"}

_LIMITS = frozenset(("max_tokens", "max_completion_tokens", "max_new_tokens", "max_output_tokens"))
_LIMITS |= {"n_predict", "num_predict"}
"""What providers call the limit of an answer; each obeys some of these names and passes over the others."""

Kind = Literal["chat", "embeddings"]
LimitField = Literal["max_tokens", "max_completion_tokens"]


class ModelRequest(msgspec.Struct, frozen=True, kw_only=True):
    """One call of a model. ``models`` are the wanted ones, best first; ``body`` is what a provider gets.

    ``prompt_tokens`` is what the prompt has about, ``most_prompt`` what it can have at most. ``max_tokens`` limits one
    answer, and ``thinking`` what a model may think before it; None if the caller named none. With ``is_limited`` the
    body holds no limit: whoever is asked is told ``max_tokens`` by the name that it obeys. ``wants_usage`` is whether
    the caller asked for a usage chunk in the stream.
    """

    kind: Kind
    models: tuple[str, ...]
    body: dict[str, Any]
    prompt_tokens: int
    most_prompt: int
    max_tokens: int | None = None
    thinking: int | None = 0
    answers: int = 1
    is_limited: bool = False
    is_stream: bool = False
    wants_usage: bool = False

    @property
    def most_output(self) -> int:
        """Tokens that the answers may have at most."""
        if self.kind == "embeddings":
            return 0
        thinking = DEFAULT_MAX_TOKENS if self.thinking is None else self.thinking
        return ((self.max_tokens or DEFAULT_MAX_TOKENS) + thinking) * self.answers


def read_chat(body: dict[str, Any]) -> ModelRequest:
    """The request in a body of OpenAI's chat completions. Raises RULE: VALIDATION_ERROR, FIELD_NOT_ALLOWED."""
    _refuse_ours(body)
    models = _read_models(body)
    messages = body.get("messages")
    if not isinstance(messages, list) or not messages or not all(isinstance(one, dict) for one in messages):
        raise _wrong("messages", "must be a list of at least one message object")
    for message in messages:
        _check_message(message)
    options = body.get("stream_options")
    if options is not None and not isinstance(options, dict):
        raise _wrong("stream_options", "must be an object")
    if not isinstance(body.get("stream", False), bool | None):
        raise _wrong("stream", "must be true or false")
    prompt_tokens, thinking = count_chat(body), _whole(body, "thinking_budget")
    return ModelRequest(
        kind="chat",
        models=models,
        body={name: value for name, value in body.items() if name != "models"},
        prompt_tokens=prompt_tokens,
        most_prompt=bound_chat(body, prompt_tokens),
        max_tokens=_whole(body, "max_completion_tokens") or _whole(body, "max_tokens"),
        thinking=thinking if thinking is not None or body.get("enable_thinking") is True else 0,
        answers=_whole(body, "n", 128) or 1,
        is_stream=body.get("stream") is True,
        wants_usage=isinstance(options, dict) and options.get("include_usage") is True,
    )


def read_embeddings(body: dict[str, Any]) -> ModelRequest:
    """The request in a body of OpenAI's embeddings. Raises RULE: VALIDATION_ERROR, FIELD_NOT_ALLOWED."""
    _refuse_ours(body)
    models = _read_models(body)
    _whole(body, "dimensions", MAX_DIMENSIONS)
    tokens, most = _count_embedded(body.get("input"))
    return ModelRequest(
        kind="embeddings",
        models=models,
        body={name: value for name, value in body.items() if name != "models"},
        prompt_tokens=tokens,
        most_prompt=most,
    )


def with_limit(request: ModelRequest) -> ModelRequest:
    """The same request with one limit to its answers, so that it cannot cost more than is set aside for it."""
    if request.kind != "chat":
        return request
    body = {name: value for name, value in request.body.items() if name not in _LIMITS}
    if request.thinking is None:
        body["thinking_budget"] = DEFAULT_MAX_TOKENS
    limit = request.max_tokens or DEFAULT_MAX_TOKENS
    return msgspec.structs.replace(request, body=body, max_tokens=limit, is_limited=True)


def most_used(request: ModelRequest) -> Usage:
    """What the call can use at most, which is what is set aside for it."""
    return Usage(request.most_prompt, request.most_output, is_estimated=True)


def texts_of(request: ModelRequest) -> list[str]:
    """The texts to embed. Raises RULE for token arrays, which only the tokenizer of their model can read."""
    given = request.body["input"]
    texts = [given] if isinstance(given, str) else given
    if not all(isinstance(text, str) for text in texts):
        raise _wrong("input", "must be texts for this model; it does not take token numbers")
    return list(texts)


def _count_embedded(given: Any) -> tuple[int, int]:
    """Tokens of what is to be embedded: about, and at most."""
    if isinstance(given, str) and given:
        given = [given]
    if not isinstance(given, list) or not 0 < len(given) <= MAX_INPUTS:
        raise _wrong("input", f"must be a text or a list of 1 to {MAX_INPUTS} texts")
    if all(isinstance(one, str) for one in given):
        return count_inputs(given), bound_inputs(given)
    if all(_is_token(one) for one in given):
        return len(given), len(given)
    if all(isinstance(one, list) and one and all(map(_is_token, one)) for one in given):
        tokens = sum(map(len, given))
        return tokens, tokens
    raise _wrong("input", "must hold texts only, or token numbers only")


def _is_token(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _read_models(body: dict[str, Any]) -> tuple[str, ...]:
    """The model and what may stand in for it (``models``), each once."""
    wanted = [body.get("model")] if body.get("model") is not None else []
    others = body.get("models") or []
    if not isinstance(others, list) or len(others) > MAX_MODELS:
        raise _wrong("models", f"must be a list of at most {MAX_MODELS} model names")
    names = tuple(dict.fromkeys([*wanted, *others]))
    if not names or not all(isinstance(name, str) and 0 < len(name) <= 256 for name in names):
        raise _wrong("model", "must be the name of a model")
    return names


def _whole(body: dict[str, Any], name: str, most: int = 10_000_000) -> int | None:
    value = body.get(name)
    if value is None:
        return None
    if not _is_token(value) or not 1 <= value <= most:
        raise _wrong(name, f"must be a whole number from 1 to {most}")
    return int(value)


def _refuse_ours(body: dict[str, Any]) -> None:
    """Where a call goes and with which credential is the operator's business alone."""
    for name in body:
        if name in _OURS:
            message = f"{name} is not allowed in a request; the operator configures the providers"
            raise rule_broken(FIELD_NOT_ALLOWED, message, field=name)


def _check_message(message: dict[str, Any]) -> None:
    if not isinstance(message.get("role"), str):
        raise _wrong("messages.role", "must be a text such as user")
    content = message.get("content")
    for part in content if isinstance(content, list) else ():
        if not isinstance(part, dict):
            raise _wrong("messages.content", "must be a text or a list of part objects")
    check_addresses(message)


def _wrong(field: str, reason: str) -> InterlockError:
    return rule_broken(
        "VALIDATION_ERROR",
        f"{field} {reason}",
        field=field,
        reason=reason,
        errors=[{"field": field, "reason": reason}],
    )
