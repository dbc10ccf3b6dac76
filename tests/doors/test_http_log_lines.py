"""Every request leaves one line in the log, with nothing secret in it."""

from __future__ import annotations

import json
from typing import Any

import httpx2
import pytest
import structlog

BASE = "http://127.0.0.1:8000"
UNKNOWN = "01a200d1-a110-7d1f-acf5-1ee0f56c9eda"


async def ask(app: Any, method: str, path: str, **options: Any) -> httpx2.Response:
    """One request of nobody in particular."""
    async with httpx2.AsyncClient(transport=httpx2.ASGITransport(app=app), base_url=BASE) as client:
        return await client.request(method, path, **options)


class Lines:
    """Keeps request lines."""

    def __init__(self) -> None:
        self.written: list[dict[str, Any]] = []

    def info(self, event: str, **fields: Any) -> None:
        self.written.append({"event": event, **fields})


@pytest.fixture
def lines(monkeypatch: pytest.MonkeyPatch) -> Lines:
    """Where the next servers write their request lines."""
    kept = Lines()
    real = structlog.get_logger

    class Bound:
        def bind(self) -> Lines:
            return kept

    monkeypatch.setattr(
        structlog, "get_logger", lambda name=None: Bound() if name == "interlock.access" else real(name)
    )
    return kept


async def test_every_request_leaves_one_line_without_secrets(house: Any, make_caller: Any, lines: Lines) -> None:
    """H1."""
    caller = await make_caller(app=house.app())
    await caller.http.get(f"/api/v1/app/executions/{UNKNOWN}?wait_ms=1&access_token=SECRET")
    (line,) = lines.written
    assert (line["event"], line["method"], line["status"]) == ("request.completed", "GET", 404)
    assert line["route"] == "/api/app/executions/{execution_id}"
    assert (line["principal_id"], line["tenant_id"]) == (caller.subject, caller.tenant_id)
    assert line["duration_ms"] >= 0
    assert line["bytes_out"] > 0
    assert "SECRET" not in json.dumps(line)
    assert caller.token not in json.dumps(line)


async def test_successful_probes_leave_no_line(house: Any, lines: Lines) -> None:
    app = house.app()
    for path in ("/live", "/ready", "/health", "/metrics"):
        await ask(app, "GET", path)
    assert lines.written == []
    await ask(house.app(is_local=False), "GET", "/metrics")
    assert [line["status"] for line in lines.written] == [401]


async def test_the_access_log_can_be_switched_off(house: Any, lines: Lines) -> None:
    await ask(house.app(access_log=False), "GET", "/version")
    assert lines.written == []
