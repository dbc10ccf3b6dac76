"""Which tests run in one process of pytest-xdist, one after the other, because they share what is costly to make.

By their paths: with pytest 9.2 the marks of pytest-xdist 3.8 for this have no effect, and nothing says so.
"""

from __future__ import annotations

from typing import Any

import pytest
from xdist.scheduler import LoadScopeScheduling

TOGETHER = (
    "tests/access/",
    "tests/bootstrap/test_head.py",
    "tests/conformance/test_hosted_supabase.py",
    "tests/e2e/test_canaries.py",
    "tests/e2e/test_idempotency.py",
    "tests/e2e/test_stream_recovery.py",
    "tests/e2e/test_tempo_pair.py",
)


class Together(LoadScopeScheduling):
    """Gives each test to whoever is free, but those of one of these paths to one process."""

    def _split_scope(self, nodeid: str) -> str:
        return next((path for path in TOGETHER if nodeid.startswith(path)), nodeid)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Together | None:
    """Instead of ``--dist loadgroup``."""
    return Together(config, log) if config.getoption("dist") == "loadgroup" else None
