"""A process that ends with the one that started it, however that one ends."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time


def end_with_input(grace: float) -> None:
    """Watch standard input, which the starter holds open: at its end stop cleanly, and after ``grace`` seconds anyhow.

    The system closes it also when the starter was killed.
    """
    threading.Thread(target=_watch, args=(sys.stdin.fileno(), grace), name="lifeline", daemon=True).start()


def _watch(descriptor: int, grace: float) -> None:
    while os.read(descriptor, 1024):
        pass
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(grace)
    os.kill(os.getpid(), signal.SIGKILL)
