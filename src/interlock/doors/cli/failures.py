"""Errors as sentences with a next step, and the exit code they stand for."""

from __future__ import annotations

from typing import Any

from interlock.core.errors import ErrorKind, InterlockError
from interlock.doors.cli.remedies import next_step

DONE, FAILED, WRONG_USE = 0, 1, 2
"""The exit codes of every command."""

_KINDS: dict[int, ErrorKind] = {
    400: ErrorKind.RULE,
    401: ErrorKind.UNAUTHENTICATED,
    403: ErrorKind.DENIED,
    404: ErrorKind.NOT_FOUND,
    409: ErrorKind.CONFLICT,
    410: ErrorKind.GONE,
    413: ErrorKind.TOO_LARGE,
    421: ErrorKind.DENIED,
    422: ErrorKind.RULE,
    429: ErrorKind.LIMITED,
    502: ErrorKind.EXTERNAL,
    503: ErrorKind.UNAVAILABLE,
    504: ErrorKind.TIMEOUT,
}


class WrongUseError(InterlockError):
    """The command was called in a way that cannot work (exit code 2)."""

    def __init__(self, message: str, *, step: str = "") -> None:
        super().__init__(ErrorKind.INVALID, "WRONG_USE", message, details={"next": step} if step else None)


def failure(kind: ErrorKind, code: str, message: str, step: str = "") -> InterlockError:
    """A failure on this side of the wire, with its own next step."""
    return InterlockError(kind, code, message, details={"next": step} if step else None)


def not_running(url: str) -> InterlockError:
    """Nothing listens where the server should be."""
    return failure(
        ErrorKind.UNAVAILABLE,
        "NO_SERVER",
        f"No server answers at {url}",
        "Start one with `interlock up`, or name another with --url or INTERLOCK_URL.",
    )


def unknown_name(url: str) -> InterlockError:
    """The server's name has no address."""
    message, step = (
        f"Nobody knows where {url} is",
        "Look whether the name is spelled right, and is known on this machine.",
    )
    return failure(ErrorKind.UNAVAILABLE, "NO_SUCH_NAME", message, step)


def from_answer(status: int, body: Any, retry_after: str | None) -> InterlockError:
    """What a server's refusal says, whichever door worded it."""
    told = body if isinstance(body, dict) else {}
    kind = _KINDS.get(status, ErrorKind.INTERNAL if status >= 500 else ErrorKind.RULE)
    code = str(told.get("error_code") or told.get("code") or f"HTTP_{status}")
    message = str(told.get("message") or told.get("detail") or f"The server answered with status {status}")
    details = dict(told["details"]) if isinstance(told.get("details"), dict) else {}
    details |= {name: told[name] for name in ("trace_id", "reason") if told.get(name)}
    wait = float(retry_after) if retry_after is not None and retry_after.isdigit() else None
    return InterlockError(
        kind,
        code,
        message,
        details={**details, "status": status},
        retryable=status in (429, 502, 503, 504),
        retry_after=wait,
    )


def exit_code(error: InterlockError) -> int:
    """2 for wrong use and wrong settings, 1 for every other failure."""
    is_wrong_use = isinstance(error, WrongUseError) or error.code.startswith("SETTINGS")
    return WRONG_USE if is_wrong_use else FAILED


def as_document(error: InterlockError) -> dict[str, Any]:
    """The error for machines."""
    details = {key: value for key, value in error.details.items() if key not in ("next", "noun")}
    return {
        "error": {
            "code": error.code,
            "message": error.message,
            "next": next_step(error),
            "details": details,
            "exit_code": exit_code(error),
        }
    }
