"""Numbers of a definition: within their ranges, and finite."""

from __future__ import annotations

from collections.abc import Mapping

from interlock.core.definition.limits import (
    MAX_AMOUNT,
    MAX_ATTEMPTS,
    MAX_BACKOFF,
    MAX_DURATION,
    MAX_FACTOR,
    MAX_ID,
    MAX_RETRY_CODES,
)
from interlock.core.definition.report import Place, Report, shown
from interlock.core.resources import Resources
from interlock.core.workflow import RetryPolicy

FLOW_NAMES = {"backoff": "base_seconds", "max_backoff": "max_seconds"}
"""How flows spell the times of a retry policy."""


def check_whole(value: int, least: int, most: int, place: Place, report: Report) -> None:
    """A whole number from ``least`` to ``most``."""
    if not least <= value <= most:
        message = f"{shown(value)} is out of range, allowed are {least} to {most}"
        report.add("OUT_OF_RANGE", place, message, value=value)


def check_duration(value: float | None, place: Place, report: Report, *, most: float = MAX_DURATION) -> None:
    """Seconds above 0, or nothing."""
    if value is not None and not 0 < value <= most:
        message = f"{shown(value)} seconds is out of range, allowed is more than 0 and at most {most:.0f}"
        report.add("OUT_OF_RANGE", place, message, value=value, hint="times are written in seconds")


def check_resources(resources: Resources, place: Place, report: Report) -> None:
    """All amounts are 0 or more."""
    for name in resources.__struct_fields__:
        value = getattr(resources, name)
        if not 0 <= value <= MAX_AMOUNT:
            message = f"{shown(value)} is out of range, allowed are 0 to {MAX_AMOUNT:.0f}"
            report.add("OUT_OF_RANGE", place.at(name), message, value=value)


def check_retry(policy: RetryPolicy, place: Place, report: Report, names: Mapping[str, str] | None = None) -> None:
    """All numbers of a retry policy; ``names`` are its keys where they are spelled in another way."""
    spelled = names or {}
    check_whole(policy.max_attempts, 1, MAX_ATTEMPTS, place.at("max_attempts"), report)
    for name, value, least, most in (
        ("backoff", policy.backoff, 0.0, MAX_BACKOFF),
        ("factor", policy.factor, 1.0, MAX_FACTOR),
        ("max_backoff", policy.max_backoff, 0.0, MAX_BACKOFF),
    ):
        if not least <= value <= most:
            message = f"{shown(value)} is out of range, allowed are {least:.0f} to {most:.0f}"
            report.add("OUT_OF_RANGE", place.at(spelled.get(name, name)), message, value=value)
    _check_codes(policy.retry_on, place.at("retry_on"), report)


def _check_codes(codes: tuple[str, ...], place: Place, report: Report) -> None:
    if len(codes) > MAX_RETRY_CODES:
        report.add("TOO_LARGE", place, f"{len(codes)} error codes, at most {MAX_RETRY_CODES} are allowed")
        return
    for index, code in enumerate(codes):
        if not 1 <= len(code) <= MAX_ID:
            hint = "write a code such as HTTP_ERROR"
            report.add("VALUE_NOT_ALLOWED", place.at(index), "An error code is a short text", value=code, hint=hint)
