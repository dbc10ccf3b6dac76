"""Addresses that are stored to be called later. One that no call would ever be made to is refused when it is stored."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from interlock.core.callback import TARGET
from interlock.core.definition import CheckParameters, Mismatch
from interlock.core.errors import InterlockError, rule_broken
from interlock.core.subscription import MAX_URL
from interlock.ports.egress import CheckUrl

_ADDRESSES = {"webhook": (TARGET, "endpoint"), "http_request": ("url",)}
"""Where the parameters of a node type name an address."""


def check_address(check_url: CheckUrl, field: str, url: str) -> None:
    """Raise RULE, with the field and what to do, unless ``url`` could be called."""
    reason = f"must have at most {MAX_URL} characters" if len(url) > MAX_URL else why_not(check_url, url)
    if reason is not None:
        message, told = f"{field}: {reason}", {"field": field, "reason": reason}
        raise rule_broken("VALIDATION_ERROR", message, **told, errors=[told])


def why_not(check_url: CheckUrl, url: str) -> str | None:
    """Why no call to ``url`` would ever be made, and what to do; None if one could be."""
    try:
        check_url(url)
    except InterlockError as error:
        return error.message
    return None


def with_addresses(check_parameters: CheckParameters, check_url: CheckUrl) -> CheckParameters:
    """The checks of parameters, and of the addresses in them. Text with placeholders is left to the call."""

    def check(node_type: str, parameters: dict[str, Any]) -> list[Mismatch]:
        return [*check_parameters(node_type, parameters), *_wrong_addresses(node_type, parameters, check_url)]

    return check


def _wrong_addresses(node_type: str, parameters: Any, check_url: CheckUrl) -> Iterator[Mismatch]:
    path = _ADDRESSES.get(node_type, ())
    found = parameters
    for step in path:
        found = found.get(step) if isinstance(found, dict) else None
    if path and isinstance(found, str) and (reason := why_not(check_url, found)) is not None:
        yield Mismatch(path, reason, "address")
