"""Requests made up from the server's own document: nothing fails, and every answer is as the document says."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from figures import Note
from fuzz.callers import callers_of
from fuzz.fuzzing import WITHOUT_SECOND_PREFIX, fuzz
from serving import Serving

SEED = 2


@pytest.fixture(scope="module")
def serving(database: Any) -> Iterator[Serving]:
    """A process of its own, which the made-up requests may leave in any state."""
    with tempfile.TemporaryDirectory(prefix="interlock-fuzzed-") as folder:
        running = Serving(Path(folder), database.serve_url, INTERLOCK_LOCAL="true")
        try:
            yield running.ready()
        finally:
            running.stop()


@pytest.mark.timeout(300)
async def test_made_up_requests_find_no_fault(serving: Serving, note_figures: Note) -> None:
    """F1 in short; `make fuzz` does it at length, with all phases and every prefix."""
    callers = await callers_of(serving.url, serving.mint)
    figures = await asyncio.to_thread(
        fuzz,
        serving.url,
        callers,
        examples=3,
        seed=SEED,
        phases="fuzzing,stateful",
        options=WITHOUT_SECOND_PREFIX,
    )
    assert figures.failures == [], figures.output[-8000:]
    assert figures.tested > 80
    assert figures.cases > 200
    assert "Traceback" not in serving.logged()
    note_figures(fuzz_short_cases=figures.cases, fuzz_short_operations=figures.tested)
