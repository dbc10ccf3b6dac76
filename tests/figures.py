"""Figures that tests arrive at, for pages that tell them: ``pytest --figures FILE`` writes each as a line of JSON.

``--at-length`` lets tests do as much as their acceptance asks for, where the suite contents itself with a part of it.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

Note = Callable[..., None]


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--figures", type=Path, default=None, help="file to which tests add what they have counted")
    parser.addoption("--at-length", action="store_true", help="let tests that can take long do so")


@pytest.fixture
def note_figures(request: pytest.FixtureRequest) -> Note:
    """Notes numbers by their name, with the test that found them."""
    path: Path | None = request.config.getoption("--figures")

    def note(**found: float) -> None:
        if path is not None:
            with path.open("a") as lines:
                lines.write(json.dumps({"test": request.node.nodeid, "found": found}) + "\n")

    return note


@pytest.fixture
def at_length(request: pytest.FixtureRequest) -> bool:
    """Whether a test should do all that its acceptance asks for."""
    return bool(request.config.getoption("--at-length"))
