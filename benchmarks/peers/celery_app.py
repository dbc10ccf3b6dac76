"""The trivial task, as Celery's worker and its caller both know it. $CELERY_REDIS is where they meet."""

from __future__ import annotations

import os

from celery import Celery

REDIS = os.environ["CELERY_REDIS"]
app = Celery("celery_app", broker=f"{REDIS}/1", backend=f"{REDIS}/2")


@app.task
def increase(arguments: dict[str, int]) -> dict[str, int]:
    """The next number."""
    return {"n": arguments["n"] + 1}
