"""Celery over Redis with a worker of two processes. Answers the lines of `peers/asked.py`.

Runs in an environment of its own; $CELERY_REDIS is a URL without a database number.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from asked import serve
from celery import group
from celery_app import increase

_SECONDS = 60


def main() -> None:
    """Start the worker, answer until stdin ends, end it."""
    here = Path(__file__).parent
    options = ["-c", "2", "--loglevel", "ERROR", "--without-gossip", "--without-mingle"]
    worker = subprocess.Popen(
        [sys.executable, "-m", "celery", "-A", "celery_app", "worker", *options],
        cwd=here,
        stdin=subprocess.DEVNULL,
        stdout=sys.stderr,
        env={**os.environ, "C_FORCE_ROOT": "1"},
    )

    def batch(count: int) -> list[dict[str, int]]:
        found: list[dict[str, int]] = group(increase.s({"n": number}) for number in range(count))().get(
            timeout=_SECONDS
        )
        return found

    def single(number: int) -> dict[str, int]:
        found: dict[str, int] = increase.delay({"n": number}).get(timeout=_SECONDS)
        return found

    try:
        serve(batch, single)
    finally:
        worker.terminate()
        worker.wait(15)


if __name__ == "__main__":
    main()
