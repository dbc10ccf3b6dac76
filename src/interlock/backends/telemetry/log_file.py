"""A log file that starts anew when it is full and keeps the last ones beside it."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

MAX_BYTES = 100 * 1024 * 1024
KEPT = 5
"""How many files there are in all."""


class LogFile:
    """Lines to ``path``; at ``max_bytes`` it becomes ``path.1``, that one ``path.2``, and so on.

    Several processes may write to one path: each line is one write, and all follow when one of them starts anew.
    """

    def __init__(self, path: Path, max_bytes: int = MAX_BYTES, kept: int = KEPT) -> None:
        self._path = path
        self._max_bytes = max_bytes
        self._kept = kept
        self._descriptor = self._opened()

    def write(self, text: str) -> int:
        """Append one text as it is."""
        raw = text.encode(errors="backslashreplace")
        if os.fstat(self._descriptor).st_size + len(raw) > self._max_bytes:
            self._start_anew(len(raw))
        return os.write(self._descriptor, raw)

    def flush(self) -> None:
        """Nothing is held back."""

    def close(self) -> None:
        """Write no more."""
        os.close(self._descriptor)

    def _opened(self) -> int:
        return os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o640)

    def _start_anew(self, needed: int) -> None:
        with open(self._path.with_name(self._path.name + ".lock"), "w") as turn:
            fcntl.flock(turn, fcntl.LOCK_EX)
            self._reopen()  # another process may have been here before
            if os.fstat(self._descriptor).st_size + needed > self._max_bytes:
                self._shift()
                self._reopen()

    def _reopen(self) -> None:
        os.close(self._descriptor)
        self._descriptor = self._opened()

    def _shift(self) -> None:
        for number in range(self._kept - 1, 0, -1):
            source = self._named(number - 1)
            if source.exists():
                source.replace(self._named(number))

    def _named(self, number: int) -> Path:
        return self._path.with_name(f"{self._path.name}.{number}") if number else self._path
