"""Points in time as text. Pure: the present comes in with the scope as ``$now``."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Any

from interlock.core.engine.expressions.errors import Fault
from interlock.core.engine.expressions.limits import Frame
from interlock.core.engine.expressions.plain import kind_of, require_finite, require_whole

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_RFC_3339 = re.compile(
    r"(?P<day>[0-9]{4}-[0-9]{2}-[0-9]{2})"
    r"(?:[Tt ](?P<time>[0-9]{2}:[0-9]{2}:[0-9]{2})(?:\.(?P<fraction>[0-9]{1,9}))?(?P<zone>[Zz]|[+-][0-9]{2}:[0-9]{2}))?"
)
_TOKEN = re.compile("YYYY|MM|DD|HH|mm|ss")
_FORMAT_LENGTH = 100


def now(frame: Frame) -> Any:
    """The ``$now`` of the scope."""
    return frame.root("$now")


def date(_frame: Frame, value: Any, form: Any = None) -> str:
    """A point in time (RFC 3339 text, or seconds since 1970) as RFC 3339 text in UTC, or in the given form."""
    moment = _moment(value)
    return _rfc_3339(moment) if form is None else _formatted(moment, form)


def _moment(value: Any) -> datetime:
    try:
        if type(value) is str:
            return _parse(value)
        if type(value) is int or type(value) is float:
            seconds = require_whole(value) if type(value) is int else require_finite(value)
            return _EPOCH + timedelta(seconds=seconds)
    except (ValueError, OverflowError):
        raise Fault("date() got a time that does not exist", "years go from 1 to 9999") from None
    raise Fault(f"date() needs a text or a number, not {kind_of(value)}")


def _parse(text: str) -> datetime:
    found = _RFC_3339.fullmatch(text) if len(text) <= _FORMAT_LENGTH else None
    if found is None:
        raise Fault("date() cannot read this text", "write 2026-11-21T10:00:00Z, with Z or an offset, or 2026-11-21")
    clock = found["time"] or "00:00:00"
    fraction = (found["fraction"] or "")[:6].ljust(6, "0")
    zone = (found["zone"] or "Z").upper().replace("Z", "+00:00")
    return datetime.fromisoformat(f"{found['day']}T{clock}.{fraction}{zone}").astimezone(UTC)


def _rfc_3339(moment: datetime) -> str:
    fraction = f"{moment.microsecond:06d}".rstrip("0")
    whole = moment.replace(tzinfo=None, microsecond=0).isoformat()
    return f"{whole}.{fraction}Z" if fraction else f"{whole}Z"


def _formatted(moment: datetime, form: Any) -> str:
    if type(form) is not str or len(form) > _FORMAT_LENGTH:
        raise Fault(f"the form of date() is a text of at most {_FORMAT_LENGTH} characters", "use YYYY MM DD HH mm ss")
    parts = {
        "YYYY": f"{moment.year:04d}",
        "MM": f"{moment.month:02d}",
        "DD": f"{moment.day:02d}",
        "HH": f"{moment.hour:02d}",
        "mm": f"{moment.minute:02d}",
        "ss": f"{moment.second:02d}",
    }
    return _TOKEN.sub(lambda token: parts[token.group()], form)
