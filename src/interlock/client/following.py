"""How a run is followed over any number of connections: where to go on, when to wait, when it is over."""

from __future__ import annotations

import json
from collections.abc import Mapping

from interlock.client.errors import ConnectionLost, InterlockClientError, Refused
from interlock.client.frames import Frame, RunFinished, frame_of
from interlock.client.requests import refusal, stream_path
from interlock.client.websocket import Closed

ATTEMPTS = 8
"""Connections that fail one after the other, without a frame between, before it is given up."""
_FIRST_PAUSE, _LONGEST_PAUSE = 0.1, 5.0
_DONE = 1000
_COMES_BACK = frozenset({1001, 1006, 1011, 1012, 1013, 1014})
"""Codes after which it is worth to connect again: the server restarts, is too busy, or something broke on the way."""


class Following:
    """The state of following one run; it is told what happens and says what to do."""

    def __init__(self, workflow_id: str, run_id: str, after: int, *, full: bool) -> None:
        self._ids = workflow_id, run_id
        self._full = full
        self._failures = 0
        self.after = after
        self.is_over = False

    @property
    def path(self) -> str:
        """Where the next connection goes."""
        return stream_path(*self._ids, self.after, full=self._full)

    def frame(self, text: str) -> Frame | None:
        """The frame of a message; None for one that was seen before."""
        try:
            message = json.loads(text)
            frame = frame_of(message)
        except (ValueError, TypeError, AttributeError) as error:
            raise InterlockClientError(f"The stream holds something that is no frame: {text[:80]!r}") from error
        if frame.seq and frame.seq <= self.after:
            return None
        self.after = max(self.after, frame.seq)
        self._failures = 0
        self.is_over = isinstance(frame, RunFinished)
        return frame

    def refused(self, status: int, headers: Mapping[str, str], content: bytes) -> float:
        """The server did not open the stream: seconds until the next try. Raises Refused if none helps."""
        try:
            body = json.loads(content)
        except ValueError:
            body = None
        error = refusal(status, headers, body)
        if status not in (429, 502, 503, 504):
            raise error
        return self._pause(error, error.retry_after)

    def closed(self, closed: Closed) -> float:
        """The server ended the connection: seconds until the next one. Raises Refused if none helps."""
        if closed.code == _DONE or self.is_over:
            self.is_over = True
            return 0.0
        reason = closed.reason or f"the server closed the stream with code {closed.code}"
        error = Refused(0, f"CLOSED_{closed.code}", reason)
        if closed.code not in _COMES_BACK:
            raise error
        return self._pause(error, None)

    def lost(self, problem: Exception) -> float:
        """The connection broke, or could not be made: seconds until the next try. Raises ConnectionLost."""
        workflow_id, run_id = self._ids
        message = f"The stream of run {run_id} was lost and cannot be resumed: {problem}. The run goes on"
        error = ConnectionLost(f"{message}; follow it again with client.attach({workflow_id!r}, {run_id!r})")
        return self._pause(error, None)

    def _pause(self, error: Exception, wanted: float | None) -> float:
        self._failures += 1
        if self._failures >= ATTEMPTS:
            raise error
        return wanted if wanted is not None else min(_LONGEST_PAUSE, _FIRST_PAUSE * 2 ** (self._failures - 1))
