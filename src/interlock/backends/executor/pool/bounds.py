"""How much a child may say that is not trusted. Its program keeps to less, but users' code may have taken that over.

What is beyond these bounds is dropped. Whoever goes on talking is listened to more and more slowly, so that the
server has time for others; the child waits then, and its deadline ends it.
"""

from __future__ import annotations

import time

from interlock.backends.executor.pool.messages import Call, Store, is_file, is_json
from interlock.backends.executor.services import REPORT_INTERVAL, Pace
from interlock.ports.node import NodeFailed

MAX_PRINTED = 1_048_576 + 1024
"""Characters of what one attempt prints that are kept: its own bound, and the mark that there was more."""
MAX_PIECES = 65_536
"""Lines of the log that one attempt prints."""
MAX_FILES = 100
"""Artifacts of one attempt."""
MAX_STORED = 512 * 1_048_576
"""Bytes of them all."""
MAX_CALLS = 1000
"""Calls to others that the server makes for one attempt, under its rules of egress."""
MAX_SAID = 24 * 1_048_576
"""Bytes of a message that stores no artifact: the largest result, and what stands around it."""
MAX_UNREAD = 64 * 1_048_576
"""Bytes that wait to be read by a child; one that reads nothing is up to no good."""
_SLACK = 0.9  # what left in time may arrive a little early
_FREE = 0.1
"""Seconds of the server's time that idle talk of a child may take."""
_REST = 9.0
"""Seconds of rest for each second that it takes beyond."""
_LEAST, _MOST = 0.02, 0.25
"""Seconds of one rest: shorter ones cost more than they spare, longer ones would hold up a child's end."""


class Bounds:
    """What is left to one attempt."""

    __slots__ = ("_bytes", "_calls", "_files", "_pace", "_pieces", "_printed")

    def __init__(self) -> None:
        self._pace = Pace(REPORT_INTERVAL * _SLACK)
        self._printed = self._pieces = self._calls = self._files = self._bytes = 0

    def may_report(self) -> bool:
        """Whether it is time for another report of progress: each becomes an event of the log."""
        return self._pace.is_due()

    def cut(self, text: str) -> str:
        """What of a printed text is kept."""
        if self._printed >= MAX_PRINTED or self._pieces >= MAX_PIECES:
            return ""
        self._printed += len(text)
        self._pieces += 1
        return text[:MAX_PRINTED]

    def check(self, question: Store | Call) -> None:
        """Count an artifact, or a call to others. Raises NodeFailed ARTIFACTS_TOO_MANY, CALLS_TOO_MANY."""
        if isinstance(question, Call):
            self._calls += 1
            if self._calls > MAX_CALLS:
                raise NodeFailed("CALLS_TOO_MANY", f"An attempt may have the server make {MAX_CALLS} calls")
            return
        self._files += 1
        self._bytes += len(question.content)
        if self._files > MAX_FILES or self._bytes > MAX_STORED:
            told = f"An attempt may leave {MAX_FILES} artifacts, of {MAX_STORED // 1_048_576} MiB in all"
            raise NodeFailed("ARTIFACTS_TOO_MANY", told)


class Patience:
    """How long to rest before a child that says what is of no use is listened to again."""

    __slots__ = ("_lost",)

    def __init__(self) -> None:
        self._lost = -_FREE

    def rest(self, since: float) -> float:
        """Seconds to rest after such a message, whose reading began at ``since`` (of ``time.thread_time``)."""
        self._lost += time.thread_time() - since
        rest = self._lost * _REST
        if rest < _LEAST:
            return 0.0
        self._lost = 0.0
        return min(rest, _MOST)


def is_fit(body: bytes) -> bool:
    """Whether a message of a child that is not trusted may be read at all: files, and not too much of JSON."""
    return is_file(body) or (len(body) <= MAX_SAID and is_json(body))
