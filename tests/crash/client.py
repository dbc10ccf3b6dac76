"""A client as users should write one: it keeps its keys, and repeats with the same key whatever got no clear answer."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self

import aiohttp

from crash.clock import steady

APP = "/api/app"
CALL_SECONDS = 20.0
UNCLEAR = frozenset({429, 503})


class Answer(NamedTuple):
    """What a server said."""

    status: int
    body: Any
    retry_after: str | None = None


class Lost(Exception):
    """No answer: the connection broke or time ran out. Whether it counted is unknown."""


class GaveUp(Exception):
    """No clear answer within the deadline, however often it was asked."""


class Client:
    """Calls servers and writes the history of all its calls. ``surprises`` are answers that no fault excuses."""

    def __init__(self, history: Path, seed: int) -> None:
        self.token = ""
        self.surprises: list[str] = []
        self.unclear = 0
        self._random = random.Random(seed)
        self._history = history.open("a")
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._session is not None:
            await self._session.close()
        self._history.close()

    @property
    def session(self) -> aiohttp.ClientSession:
        """For streams."""
        if self._session is None:
            raise RuntimeError("the client was not entered")
        return self._session

    def headers(self, key: str | None = None) -> dict[str, str]:
        """What every call carries."""
        return {"Authorization": f"Bearer {self.token}", **({"Idempotency-Key": key} if key else {})}

    async def call(
        self, url: str, method: str, path: str, body: Any = None, key: str | None = None, seconds: float = CALL_SECONDS
    ) -> Answer:
        """One try. Raises Lost."""
        self._write("invoke", method, path, key)
        try:
            async with self.session.request(
                method,
                url + path,
                json=body,
                headers=self.headers(key),
                timeout=aiohttp.ClientTimeout(total=seconds),
            ) as response:
                text = await response.text()
                status, retry_after = response.status, response.headers.get("Retry-After")
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            self._write("info", method, path, key, type(error).__name__)
            raise Lost(f"{method} {path}: {type(error).__name__} {error}") from error
        self._write("ok" if status < 400 else "info" if status in UNCLEAR else "fail", method, path, key, status)
        if status >= 500 and status not in UNCLEAR:
            self.surprises.append(f"{status} {method} {path} {text[:300]}")
        return Answer(status, json.loads(text) if text else None, retry_after)

    async def insist(
        self,
        urls: Callable[[], Sequence[str]] | Sequence[str],
        method: str,
        path: str,
        body: Any = None,
        key: str | None = None,
        seconds: float = 60.0,
    ) -> Answer:
        """Repeat on any of the servers until there is a clear answer. Raises GaveUp."""
        until = steady() + seconds
        why = "there was no server"
        while steady() < until:
            servers = urls() if callable(urls) else urls
            try:
                answer = await self.call(self._random.choice(list(servers)), method, path, body, key)
                if answer.status < 500 and answer.status not in UNCLEAR:
                    return answer
                why = f"{answer.status} {answer.body}"
            except Lost as error:
                why = str(error)
            except IndexError:
                pass
            self.unclear += 1
            await asyncio.sleep(self._random.uniform(0.05, 0.3))
        raise GaveUp(f"{method} {path} for {seconds:g} s; at last {why}")

    def _write(self, phase: str, method: str, path: str, key: str | None, result: object = None) -> None:
        line = {"at": int(steady() * 1e9), "phase": phase, "method": method, "path": path, "key": key}
        self._history.write(json.dumps(line | ({"result": result} if result is not None else {})) + "\n")
