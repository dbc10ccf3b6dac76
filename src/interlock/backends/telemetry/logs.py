"""Log lines: JSON or text, one line a record, redacted and bounded at the sink."""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import MutableMapping
from pathlib import Path
from typing import Any, TextIO

import structlog

MAX_LINE = 16 * 1024
_SECRET_NAMES = re.compile(r"(?i)(authorization|cookie|password|secret|token|api[_-]?key|database_url)")
_SECRET_SHAPES = re.compile(
    r"(eyJ[\w-]{8,}\.[\w-]{8,}\.[\w-]{8,}|il_[a-z]+_\w+|(?<=://)[^:/@\s]+:[^@\s]+(?=@)|(?i:bearer )\S+)"
)
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")

Record = MutableMapping[str, Any]


def configure(level: str, form: str, *, stream: TextIO | None = None, file: Path | None = None) -> None:
    """Send all log records to one sink. ``form`` is ``json``, ``standard`` or ``simple``.

    Lines go to standard error (or ``file``), so that commands can keep standard output for their own answers.
    """
    sink: TextIO = file.open("a", encoding="utf-8") if file is not None else stream or sys.stderr
    number = logging.getLevelNamesMapping()[level]
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            _redact,
            _json if form == "json" else _simple if form == "simple" else _standard,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=structlog.PrintLoggerFactory(sink),
        cache_logger_on_first_use=False,
    )
    logging.basicConfig(level=max(number, logging.WARNING), stream=sink, force=True)


def redact(text: str) -> str:
    """The text without what looks like a credential."""
    return _SECRET_SHAPES.sub("[redacted]", text)


def _redact(logger: Any, method: str, record: Record) -> Record:
    for name, value in record.items():
        if _SECRET_NAMES.search(name):
            record[name] = "[redacted]"
        elif isinstance(value, str):
            record[name] = redact(value[:MAX_LINE])
    return record


def _json(logger: Any, method: str, record: Record) -> str:
    record["message"] = record.get("event", "")
    return _bounded(str(structlog.processors.JSONRenderer(default=str)(logger, method, record)))


def _standard(logger: Any, method: str, record: Record) -> str:
    at, level, event = record.pop("timestamp", ""), record.pop("level", ""), record.pop("event", "")
    fields = " ".join(f"{name}={value}" for name, value in record.items())
    return _bounded(_plain(f"{at} - {str(level).upper()} - {event} {fields}".rstrip()))


def _simple(logger: Any, method: str, record: Record) -> str:
    return _bounded(_plain(f"{str(record.get('level', '')).upper()} - {record.get('event', '')}"))


def _plain(line: str) -> str:
    return _CONTROL.sub(lambda match: f"\\x{ord(match.group()):02x}", line).replace("\n", "\\n")


def _bounded(line: str) -> str:
    return line if len(line) <= MAX_LINE else line[:MAX_LINE] + " …cut"
