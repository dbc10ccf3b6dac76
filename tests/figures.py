"""Figures that tests arrive at, for pages that tell them: ``pytest --figures FILE`` writes each as a line of JSON."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

Note = Callable[..., None]


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--figures", type=Path, default=None, help="file to which tests add what they have counted")


@pytest.fixture
def note_figures(request: pytest.FixtureRequest) -> Note:
    """Notes numbers by their name, with the test that found them."""
    path: Path | None = request.config.getoption("--figures")

    def note(**found: float) -> None:
        if path is not None:
            with path.open("a") as lines:
                lines.write(json.dumps({"test": request.node.nodeid, "found": found}) + "\n")

    return note
