"""What is sent: the parameters, read and checked after their expressions were evaluated."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from interlock.kit import strict_json
from interlock.ports.node import Attempt, NodeFailed

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
DEFAULT_TIMEOUT = 30.0
"""Seconds."""
MAX_TIMEOUT = 120.0
"""Seconds."""
MAX_BODY = 1_048_576
"""Bytes of an answer that are kept."""
_SAFE = frozenset(("GET", "HEAD", "OPTIONS"))


@dataclass(frozen=True, slots=True)
class Call:
    """A call to make. ``timeout`` is seconds."""

    method: str
    url: str
    headers: dict[str, str]
    body: bytes | None
    timeout: float


def read_call(attempt: Attempt) -> Call:
    """The call an attempt asks for. Raises NodeFailed PARAMETER_INVALID for what only shows at run time."""
    parameters = attempt.parameters
    method = str(parameters.get("method") or "GET").upper()
    if method not in METHODS:
        raise _invalid("method", method, f"use one of {', '.join(METHODS)}")
    headers = _read_headers(parameters.get("headers") or {})
    body, content_type = _read_body(parameters.get("body"))
    if content_type is not None:
        _set_default(headers, "Content-Type", content_type)
    if method not in _SAFE:
        _set_default(headers, "Idempotency-Key", attempt.effect_key)
    return Call(method, _read_url(parameters.get("url")), headers, body, _read_timeout(parameters.get("timeout")))


def _read_url(url: Any) -> str:
    if not isinstance(url, str) or not url:
        raise _invalid("url", url, "it must be a text such as https://example.com/path")
    return url


def _read_headers(headers: Any) -> dict[str, str]:
    if not isinstance(headers, dict):
        raise _invalid("headers", headers, "it must be an object of names and texts")
    for name, value in headers.items():
        if value is None or isinstance(value, dict | list):
            raise _invalid(f"headers.{name}", value, "it must be a text or a number; leave the header out otherwise")
    return {name: _header_text(value) for name, value in headers.items()}


def _header_text(value: str | int | float | bool) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _read_body(body: Any) -> tuple[bytes | None, str | None]:
    """The bytes to send and what they are."""
    if body is None:
        return None, None
    if isinstance(body, str):
        return body.encode("utf-8", "replace"), "text/plain; charset=utf-8"
    return strict_json.encode(body), "application/json"


def _read_timeout(timeout: Any) -> float:
    if timeout is None:
        return DEFAULT_TIMEOUT
    if isinstance(timeout, bool) or not isinstance(timeout, int | float) or not 0 < timeout <= MAX_TIMEOUT:
        raise _invalid("timeout", timeout, f"it must be a number of seconds above 0 and up to {MAX_TIMEOUT:g}")
    return float(timeout)


def _set_default(headers: dict[str, str], name: str, value: str) -> None:
    if name.lower() not in {known.lower() for known in headers}:
        headers[name] = value


def _invalid(parameter: str, value: Any, hint: str) -> NodeFailed:
    return NodeFailed("PARAMETER_INVALID", f"The parameter {parameter} is {str(value)[:100]!r}; {hint}.")
