"""What can go wrong, each with what to do about it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


class InterlockClientError(Exception):
    """Base of all errors of this library."""


class NotSendable(InterlockClientError):
    """A function, an argument or a graph cannot be sent as it is; the message says why and what helps."""


class ConnectionLost(InterlockClientError):
    """The server cannot be reached, or the connection broke before its answer. What was asked may have been done."""


class Refused(InterlockClientError):
    """The server answered and refused.

    ``status`` is the HTTP status (0 for a closed stream), ``code`` the server's code for programs, ``detail`` its
    sentence for people, ``trace_id`` what its operator can look for, ``retry_after`` how many seconds to wait, if
    waiting helps.
    """

    def __init__(
        self,
        status: int,
        code: str,
        detail: str,
        *,
        trace_id: str = "",
        retry_after: float | None = None,
        body: Any = None,
    ) -> None:
        self.status = status
        self.code = code
        self.detail = detail
        self.trace_id = trace_id
        self.retry_after = retry_after
        self.body = body
        advice = _advice(status, code, retry_after)
        trace = f" (trace {trace_id})" if trace_id else ""
        super().__init__(f"{status} {code}: {detail}{trace}{'. ' + advice if advice else ''}".removeprefix("0 "))


class TaskFailed(InterlockClientError):
    """A task raised on the server. ``error_type`` is the name of its exception's type, ``message`` what it said."""

    def __init__(self, message: str, *, error_type: str = "", task_id: str = "", run_id: str = "") -> None:
        self.message = message
        self.error_type = error_type
        self.task_id = task_id
        self.run_id = run_id
        super().__init__(message)


class RunFailed(InterlockClientError):
    """A run ended and not all of its tasks succeeded.

    ``failures`` has the failed tasks by the names of their nodes, ``results`` what the others gave.
    """

    def __init__(self, run_id: str, failures: Mapping[str, TaskFailed], results: Mapping[Any, Any]) -> None:
        self.run_id = run_id
        self.failures = failures
        self.results = results
        told = "; ".join(f"{name}: {failure.message}" for name, failure in failures.items())
        super().__init__(f"Run {run_id} failed: {told or 'it ended before its tasks did, see its log'}")


class RunCancelled(InterlockClientError):
    """A run was cancelled before its end. ``results`` is what its tasks gave until then."""

    def __init__(self, run_id: str, results: Mapping[Any, Any]) -> None:
        self.run_id = run_id
        self.results = results
        super().__init__(f"Run {run_id} was cancelled")


def _advice(status: int, code: str, retry_after: float | None) -> str:
    if status == 401:
        return "Give the client a token or an API key: Client(url, token=…)"
    if status == 403:
        return "The credential lacks the scope, or code is switched off on this server: ask its operator"
    if retry_after is not None:
        return f"Try again in {retry_after:g} s"
    if code == "RESULT_NOT_JSON":
        return "Return what JSON can hold: dicts with text keys, lists, texts, numbers, true, false and null"
    return ""
