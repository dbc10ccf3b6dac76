"""Asking as one tenant, and every word of what was answered."""

from __future__ import annotations

import httpx2

from access.route_probes import Probe
from tenants_house import Owner


class Transcript:
    """Asks as one tenant and keeps every word of the answers."""

    def __init__(self, owner: Owner) -> None:
        self._owner = owner
        self.words: list[str] = []
        self.count = 0

    async def ask(self, probe: Probe) -> tuple[int, str]:
        """Status and body; a stream is read for a moment."""
        headers = {**self._owner.headers(probe.credential), **probe.headers}
        told = {"headers": headers, "params": probe.query, "json": probe.body}
        if probe.body is None:
            del told["json"]
        self.count += 1
        async with self._owner.http.stream(probe.method, probe.path, **told, timeout=30.0) as answer:
            text = await _read(answer)
        self.words.append(f"{answer.headers}{text}")
        return answer.status_code, text


async def _read(answer: httpx2.Response) -> str:
    """The whole body, or the first piece of a stream."""
    if answer.headers.get("content-type") != "text/event-stream":
        return (await answer.aread()).decode()
    async for piece in answer.aiter_text():
        return piece
    return ""
