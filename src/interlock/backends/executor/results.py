"""What became of an attempt, in the words an executor reports. Whatever a node says leaves here as JSON."""

from __future__ import annotations

import re
import traceback
from contextlib import suppress
from typing import Any

import msgspec

from interlock.core.commands import AttemptLost, TaskErred, TaskReported, TaskSucceeded, TaskSuspended
from interlock.core.errors import ErrorKind, InterlockError
from interlock.core.events import Failure
from interlock.core.parcel import Packed, Place, exchange, find, insert
from interlock.kit import strict_json
from interlock.kit.plain_json import is_plain
from interlock.ports.node import Attempt, Done, Node, NodeFailed, Outcome, Registry, Suspend

MAX_RESULT = 32 * 1_048_576
"""Bytes of JSON that a node may answer."""
MAX_KEYS = 2_000_000
"""Keys of all objects in it."""
_FOREIGN = 500  # characters of a message that was not written for users
_TOLD = 4000  # characters of a message that was
_TRACE = 20_000  # characters of a traceback, the last ones
_WAITS = frozenset({"timer", "signal", "callback", "approval"})
_AWAY = (ErrorKind.UNAVAILABLE, ErrorKind.TIMEOUT)
_NOT_TEXT = re.compile("[\0\ud800-\udfff]")


class Away(NodeFailed):
    """What every attempt needs is not there now, which is no failure of the one that met it: another one follows."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(code, message, retryable=True)


def find_node(registry: Registry, name: str) -> Node:
    """The code of a task type. Raises NodeFailed NODE_TYPE_UNKNOWN."""
    try:
        return registry.node(name)
    except KeyError:
        message = f"This server has no code for the node type {name!r}; is its package installed here?"
        raise NodeFailed("NODE_TYPE_UNKNOWN", message) from None


def conclude(attempt: Attempt, outcome: Outcome, seconds: float) -> TaskSucceeded | TaskSuspended:
    """The report of an outcome as it is. Raises NodeFailed NODE_ERROR for anything that is no outcome."""
    if type(outcome) is Done:
        return TaskSucceeded(
            task_id=attempt.task_id,
            attempt=attempt.attempt,
            output=outcome.output,
            port=outcome.port,
            blackboard=outcome.blackboard,
            artifacts=outcome.artifacts,
            raised=outcome.raised,
            ui_schema=outcome.ui_schema,
            needs_input=outcome.needs_input,
            duration_ms=int(seconds * 1000),
        )
    if not isinstance(outcome, Suspend):
        raise NodeFailed("NODE_ERROR", f"The node returned {type(outcome).__name__} instead of Done or Suspend.")
    _check_rest(outcome)
    return TaskSuspended(
        task_id=attempt.task_id,
        attempt=attempt.attempt,
        waits_for=outcome.waits_for,
        name=outcome.name,
        wake_at=outcome.wake_at,
        approval=outcome.approval,
    )


def settle(outcome: Outcome) -> Outcome:
    """A copy of an outcome that holds JSON values and nothing else, as it will be read back from the log.

    Packed values of its output stay as they are. Raises NodeFailed: RESULT_NOT_JSON, RESULT_TOO_LARGE (over
    ``MAX_RESULT``), NODE_ERROR for what is no outcome.
    """
    kind = type(outcome)
    if kind not in (Done, Suspend):
        raise NodeFailed("NODE_ERROR", f"The node returned {kind.__name__} instead of Done or Suspend.")
    bare, packed = _bare(outcome)
    kept: Outcome = msgspec.convert(_read(bare, "The result"), type=kind, str_keys=True)
    for place, value in packed:
        insert(kept.output, place, value)  # type: ignore[union-attr]  # only what is done has any
    return kept


def _bare(outcome: Outcome) -> tuple[Outcome, list[tuple[Place, Packed]]]:
    """The outcome with nothing in the places of packed values, and these."""
    packed = list(find(outcome.output, Packed)) if isinstance(outcome, Done) else []
    if not isinstance(outcome, Done) or not packed:
        return outcome, []
    return msgspec.structs.replace(outcome, output=exchange(outcome.output, Packed, lambda _: None)), packed


def settle_quickly(outcome: Outcome) -> Outcome:
    """The same for who gives the outcome away at once: an output that is JSON already is not copied."""
    if type(outcome) is not Done or not is_plain(outcome.output, max_bytes=MAX_RESULT, max_keys=MAX_KEYS):
        return settle(outcome)
    if outcome == Done(output=outcome.output):
        return outcome  # the most usual one: nothing but its output
    rest = settle(msgspec.structs.replace(outcome, output=None))
    return msgspec.structs.replace(rest, output=outcome.output)


def report_progress(attempt: Attempt, progress: float | None, message: str, data: Any) -> TaskReported:
    """The report of progress, kept within 0 to 1. Raises NodeFailed RESULT_NOT_JSON for other data than JSON."""
    return TaskReported(
        task_id=attempt.task_id,
        attempt=attempt.attempt,
        progress=None if progress is None else min(1.0, max(0.0, float(progress))),
        message=_clean(str(message), _FOREIGN),
        data=None if data is None else _read(data, "The progress data"),
    )


def fail(attempt: Attempt, error: BaseException) -> TaskErred:
    """The report of an error."""
    return TaskErred(task_id=attempt.task_id, attempt=attempt.attempt, error=failure_of(error))


def is_away(error: BaseException | None) -> bool:
    """Whether an error of our own parts (never of users' code) says that one of them is away."""
    return isinstance(error, Away) or (isinstance(error, InterlockError) and error.kind in _AWAY)


def give_up(attempt: Attempt, error: BaseException, *, has_begun: bool) -> TaskErred | AttemptLost:
    """The report of an error of our own parts: the attempt is lost if one of them is away, and failed else."""
    if not is_away(error):
        return fail(attempt, error)
    return AttemptLost(task_id=attempt.task_id, attempt=attempt.attempt, error=failure_of(error), has_begun=has_begun)


def failure_of(error: BaseException) -> Failure:
    """An error as its author put it, or for anything unforeseen NODE_ERROR and what can be said."""
    if isinstance(error, NodeFailed | InterlockError):
        return Failure(
            code=_clean(error.code, 128),
            message=_clean(error.message, _TOLD),
            retryable=error.retryable,
            details=_read_details(error.details),
        )
    text = type(error).__name__
    with suppress(Exception):  # what it says of itself is code of its author
        text = f"{text}: {error}".removesuffix(": ")
    return Failure(code="NODE_ERROR", message=_clean(text, _FOREIGN))


def time_out(attempt: Attempt) -> TaskErred:
    """The report of an attempt that had all its time."""
    failure = Failure(
        code="TIMEOUT", message=f"The attempt took longer than {attempt.timeout:g} seconds", retryable=True
    )
    return TaskErred(task_id=attempt.task_id, attempt=attempt.attempt, error=failure)


def trace_back(error: BaseException) -> str:
    """For the log: where an unforeseen error came from; empty for one that a node meant to report."""
    if isinstance(error, NodeFailed | InterlockError):
        return ""
    try:
        told = "".join(traceback.format_exception(error))
    except Exception as odd:  # noqa: BLE001 - a class of theirs without a module is enough; the attempt must end
        told = f"{type(error).__name__}, whose trace cannot be shown: {type(odd).__name__}"
    return _NOT_TEXT.sub("\ufffd", told[-_TRACE:])


def _check_rest(rest: Suspend) -> None:
    if rest.waits_for not in _WAITS:
        raise NodeFailed("NODE_ERROR", f"The node waits for {rest.waits_for!r}; known are {', '.join(sorted(_WAITS))}.")
    if rest.wake_at is not None and rest.wake_at.tzinfo is None:
        raise NodeFailed("NODE_ERROR", "The node wants to be woken at a time without a zone.")
    if rest.waits_for == "timer" and rest.wake_at is None:
        raise NodeFailed("NODE_ERROR", "The node waits for a timer and does not say until when.")


def _read(value: Any, what: str) -> Any:
    """The value as it is read back from JSON."""
    try:
        return strict_json.decode(strict_json.encode(value), max_bytes=MAX_RESULT, max_keys=MAX_KEYS)
    except strict_json.StrictJsonError as error:
        code = "RESULT_TOO_LARGE" if error.too_large else "RESULT_NOT_JSON"
        raise NodeFailed(code, f"{what} cannot be recorded as JSON: {error}") from error


def _read_details(details: dict[str, Any]) -> dict[str, Any]:
    """The details as JSON; where they are not, that is said in their place."""
    try:
        read: dict[str, Any] = _read(details, "The error's details")
    except NodeFailed as error:
        return {"details_lost": error.message[:_FOREIGN]}
    return read


def _clean(text: str, limit: int) -> str:
    cut = text if len(text) <= limit else text[: limit - 1] + "…"
    return _NOT_TEXT.sub("\ufffd", cut)
