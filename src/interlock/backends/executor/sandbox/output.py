"""What users' code prints, read from its standard output and error while it runs."""

from __future__ import annotations

import codecs
import os
import select
import sys
import threading
from collections.abc import Callable

MAX_PRINTED = 1_048_576
"""Bytes of one attempt that are passed on; then it is said that there was more."""
MARK = "\n[cut: the task printed more than 1 MiB]\n"
_CHUNK = 65_536


class Output:
    """Takes the place of descriptors 1 and 2, and passes on to ``say`` what is written there, as text.

    What comes beyond ``MAX_PRINTED`` is read and dropped, so that the writer is not held up for ever.
    """

    def __init__(self, say: Callable[[str, str], None]) -> None:
        self._say = say
        self._turn = threading.Lock()
        self._left = 0
        self._is_cut = True
        self._streams = {_divert(1): "stdout", _divert(2): "stderr"}
        self._decoders = {name: codecs.getincrementaldecoder("utf-8")("replace") for name in self._streams.values()}
        threading.Thread(target=self._follow, name="output", daemon=True).start()

    def begin(self) -> None:
        """An attempt begins; what was printed before belongs to none."""
        with self._turn:
            self._left = 0
            self._drain()
            self._left, self._is_cut = MAX_PRINTED, False

    def end(self) -> None:
        """Pass on all that the attempt has printed."""
        for stream in (sys.stdout, sys.stderr):
            try:
                stream.flush()
            except (OSError, ValueError):  # the code has closed it
                continue
        with self._turn:
            self._drain()
            self._left, self._is_cut = 0, True

    def _follow(self) -> None:
        while True:
            select.select(list(self._streams), [], [])
            with self._turn:
                for file in self._streams:
                    self._take(file)

    def _drain(self) -> None:
        """Read what is there; at most once more than a pipe holds, for somebody may go on writing."""
        for file in self._streams:
            for _ in range(32):
                if not self._take(file):
                    break

    def _take(self, file: int) -> bool:
        try:
            found = os.read(file, _CHUNK)
        except BlockingIOError:
            return False
        name = self._streams[file]
        text = self._decoders[name].decode(found[: self._left])
        if len(found) > self._left and not self._is_cut:
            self._is_cut = True
            text += MARK
        self._left = max(0, self._left - len(found))
        if text:
            self._say(name, text)
        return bool(found)


def _divert(descriptor: int) -> int:
    """The reading end of what takes the descriptor's place."""
    ours, theirs = os.pipe()
    os.dup2(theirs, descriptor)
    os.close(theirs)
    os.set_blocking(ours, False)
    return ours
