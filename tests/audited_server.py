"""The server, with all that Python runs, imports or unpickles in it written down.

    python tests/audited_server.py FILE ARGUMENTS OF INTERLOCK…

Each such event is a line of JSON in FILE, from the moment on at which the process gets SIGUSR2: what the server loads
of its own when it is first needed is loaded before, by the same requests.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from types import CodeType
from typing import Any

EVENTS = {"compile", "exec", "import", "marshal.load", "marshal.loads", "pickle.find_class", "code.__new__"}
BEGUN = "the audit begins"
LONGEST = 400


class Auditor:
    """Writes events down once it is told to."""

    def __init__(self, path: str) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        self._is_on = False

    def begin(self, *_: Any) -> None:
        """From now on; the first event is one of its own, which shows that it hears."""
        self._is_on = True
        compile("1", BEGUN, "eval")

    def hear(self, event: str, given: tuple[Any, ...]) -> None:
        """Write an event down, if it is one of ``EVENTS``."""
        if not self._is_on or event not in EVENTS:
            return
        line = {"event": event, "given": [_told(each) for each in given][:3], "frames": _frames()}
        os.write(self._file, json.dumps(line).encode() + b"\n")


def _told(value: Any) -> str:
    if isinstance(value, CodeType):
        return f"code of {value.co_filename}: {value.co_name}"
    return (value if isinstance(value, str) else repr(value))[:LONGEST]


def _frames() -> list[str]:
    """Where it happened, the innermost frame first."""
    found, frame = [], sys._getframe(2)
    while frame is not None and len(found) < 8:
        found.append(f"{frame.f_code.co_filename}:{frame.f_lineno}")
        frame = frame.f_back  # type: ignore[assignment]
    return found


def main() -> None:
    auditor = Auditor(sys.argv.pop(1))
    sys.addaudithook(auditor.hear)
    signal.signal(signal.SIGUSR2, auditor.begin)
    from interlock.__main__ import main as run  # after the hook

    run()


if __name__ == "__main__":
    main()
