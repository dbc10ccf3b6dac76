"""Log lines: every record of this process, ours and those of libraries, goes through one sink and is redacted there."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
import sys
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path
from types import CodeType
from typing import Any, Protocol, cast

import structlog
from structlog.processors import CallsiteParameter, CallsiteParameterAdder

from interlock.backends.telemetry.lines import Record, Render, json_line, simple_line, standard_line
from interlock.backends.telemetry.log_file import LogFile
from interlock.backends.telemetry.redact import Redactor
from interlock.kit.clock import SystemClock

ACCESS = "interlock.access"
"""The logger of request lines, which do not depend on the level."""

_LEVELS = (logging.DEBUG, logging.INFO, logging.WARNING, logging.ERROR, logging.CRITICAL)
_NUMBERS = {name.lower(): number for name, number in logging.getLevelNamesMapping().items()}
_NUMBERS["exception"] = logging.ERROR
_FRAMES_TO_SKIP = ["logging", "interlock.backends.telemetry"]
_SITE = [CallsiteParameter.FILENAME, CallsiteParameter.LINENO, CallsiteParameter.FUNC_NAME]


class Sink(Protocol):
    """Where lines go."""

    def write(self, text: str, /) -> Any: ...

    def flush(self) -> None: ...


def configure(
    level: str,
    form: str,
    *,
    stream: Sink | None = None,
    file: Path | None = None,
    known: Iterable[str] = (),
    has_marks: bool = False,
) -> Redactor:
    """Send all records of this process to one sink. ``form`` is ``json``, ``standard`` or ``simple``.

    Lines go to ``stream``, standard error unless it is given (commands keep standard output for their answers), or to
    ``file``.
    ``known`` are secrets that no line may show; the redactor that comes back learns more of them. ``has_marks`` puts
    a sign before the message of well-known events in the text forms. Raises OSError if the file cannot be written.
    """
    sink: Sink = LogFile(file) if file is not None else stream or sys.stderr
    number = logging.getLevelNamesMapping()[level]
    redactor = Redactor(known)
    render = _renderer(form, has_marks=has_marks)
    structlog.configure(
        processors=[
            functools.partial(_drop_below, number),
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            _Stamp(),
            *([CallsiteParameterAdder(_SITE, additional_ignores=_FRAMES_TO_SKIP)] if form == "standard" else []),
            structlog.processors.format_exc_info,
            functools.partial(_redact, redactor),
            functools.partial(_render, render),
        ],
        wrapper_class=cast(
            "Any",  # declared as a class, used as what makes a logger
            functools.partial(
                _logger, structlog.make_filtering_bound_logger(min(number, logging.INFO)), redactor, render
            ),
        ),
        logger_factory=functools.partial(_named, sink),
        cache_logger_on_first_use=False,
    )
    logging.basicConfig(level=max(number, logging.WARNING), handlers=[_Foreign()], force=True)
    _end_other_outputs()
    return redactor


def _end_other_outputs() -> None:
    """Server programs give their loggers outputs that redact nothing; from now on they speak through ours."""
    for logger in list(logging.root.manager.loggerDict.values()):
        if isinstance(logger, logging.Logger) and logger.handlers:
            logger.handlers.clear()
            logger.propagate = True


class _Lines:
    """Writes finished lines; ``name`` says who speaks."""

    def __init__(self, sink: Sink, name: str) -> None:
        self._sink = sink
        self.name = name

    def msg(self, line: str) -> None:
        try:
            self._sink.write(line + "\n")  # in one piece: several processes may share the sink
            self._sink.flush()
        except (OSError, ValueError):  # whoever read it is gone; what is logged must not end what logs
            _say_elsewhere(line)

    debug = info = warning = warn = error = critical = fatal = exception = log = msg


def _say_elsewhere(line: str) -> None:
    with contextlib.suppress(OSError, ValueError):
        sys.stderr.write(line + "\n")


class RequestLines:
    """The logger of request lines: as many as requests, so they skip the chain of processors, not the redaction.

    Those of one turn of the event loop are written together, at its end.
    """

    def __init__(self, lines: _Lines, redactor: Redactor, render: Render) -> None:
        self._lines = lines
        self._redactor = redactor
        self._render = render
        self._stamp = _Stamp()
        self._waiting: list[Record] = []

    def bind(self) -> RequestLines:
        return self

    def info(self, event: str, **fields: Any) -> None:
        """Write one line. ``fields`` stand in it in their order."""
        if not self._waiting:
            self._now = self._stamp.now()
            asyncio.get_running_loop().call_soon(self._write)
        frame = sys._getframe(1)
        fields |= {"event": event, "level": "info", "timestamp": self._now, "logger": self._lines.name}
        self._waiting.append(fields | _site(frame.f_code, frame.f_lineno))

    def _write(self) -> None:
        waiting, self._waiting = self._waiting, []
        self._lines.msg("\n".join(map(self._render, self._redactor.records(waiting))))


@lru_cache(maxsize=64)
def _site(code: CodeType, line: int) -> dict[str, Any]:
    return {"filename": code.co_filename.rpartition("/")[2], "lineno": line, "func_name": code.co_name}


def _logger(bound: type[Any], redactor: Redactor, render: Render, logger: _Lines, **made_with: Any) -> Any:
    """The logger of a name, where structlog would make one of ``bound``."""
    if logger.name == ACCESS:
        return RequestLines(logger, redactor, render)
    return bound(logger, **made_with)


class _Foreign(logging.Handler):
    """Takes the records of libraries, which know nothing of structlog, into the same sink."""

    def emit(self, record: logging.LogRecord) -> None:
        level = max((known for known in _LEVELS if known <= record.levelno), default=logging.DEBUG)
        lines = structlog.get_logger(record.name)
        lines.log(level, "library.record", message=_message_of(record), exc_info=record.exc_info)


class _Stamp:
    """Adds the time, to the millisecond."""

    def __init__(self) -> None:
        self._clock = SystemClock()

    def __call__(self, logger: Any, method: str, record: Record) -> Record:
        record["timestamp"] = self.now()
        return record

    def now(self) -> str:
        return self._clock.now().isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _named(sink: Sink, *names: str) -> _Lines:
    return _Lines(sink, names[0] if names else "interlock")


def _message_of(record: logging.LogRecord) -> str:
    try:
        return record.getMessage()
    except (TypeError, ValueError):  # the library gave more or fewer arguments than its text wants
        return str(record.msg)


def _drop_below(number: int, logger: Any, method: str, record: Record) -> Record:
    if _NUMBERS[method] < number:
        raise structlog.DropEvent
    record["logger"] = logger.name
    return record


def _redact(redactor: Redactor, logger: Any, method: str, record: Record) -> Record:
    return redactor.record(record)


def _renderer(form: str, *, has_marks: bool) -> Render:
    if form == "json":
        return json_line
    return functools.partial(simple_line if form == "simple" else standard_line, has_marks=has_marks)


def _render(render: Render, logger: Any, method: str, record: Record) -> str:
    return render(record)
