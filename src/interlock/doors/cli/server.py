"""A running server as the command line sees it: calls of the app door, answered with plain JSON objects."""

from __future__ import annotations

import re
import socket
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import quote

from interlock.core.errors import ErrorKind, InterlockError
from interlock.doors.cli.failures import WrongUseError, failure, from_answer, not_running, unknown_name
from interlock.doors.cli.late import late
from interlock.kit import strict_json
from interlock.kit.hosts import canonical, is_loopback
from interlock.kit.ids import Ids

if TYPE_CHECKING:
    import httpx2

    Frames = AsyncIterator[httpx2.ServerSentEvent]
else:
    httpx2 = late("httpx2")

APP, TEMPO = "/api/app", "/api"
"""Where the doors begin whose calls the commands make."""
CONNECT_SECONDS = 5.0
ANSWER_SECONDS = 60.0
SILENCE_SECONDS = 30.0
"""A stream that says nothing for so long is lost: servers show that they live every 10 s."""

_MAX_FRAME_BYTES = 16 * 1_048_576
_RESENDS = 2
_COUNT_ONCE = frozenset({"GET", "POST"})  # posts carry an idempotency key


def read_url(url: str) -> str:
    """The server's address without a slash at its end. Raises WrongUseError for anything but plain HTTP(S)."""
    text = url if "://" in url else f"http://{url}"
    step = "Write it like http://127.0.0.1:8000."
    try:
        parsed = httpx2.URL(text)
    except httpx2.InvalidURL as error:
        raise WrongUseError(f"{url!r} is not an address of a server.", step=step) from error
    is_odd = parsed.query or parsed.fragment or (parsed.port or 0) > 65_535
    if parsed.scheme not in ("http", "https") or not parsed.host or is_odd:
        raise WrongUseError(f"{url!r} is not an address of a server.", step=step)
    if parsed.userinfo:
        raise WrongUseError("An address holds no password.", step="Put a token into INTERLOCK_TOKEN.")
    return text.rstrip("/")


def read_head(address: str) -> str:
    """The URL of a head, of HOST:PORT or a whole URL. Raises WrongUseError for anything else."""
    if "://" not in address and not re.search(r":\d+$", address):
        raise WrongUseError(f"{address!r} is no host and port.", step="Write --addr like 10.0.0.5:8000.")
    return read_url(address)


def is_this_machine(url: str) -> bool:
    """Whether the address can only lead back to this machine."""
    host = canonical(httpx2.URL(url).host)
    return is_loopback(host) or host.endswith(".localhost")


def host_of_url(url: str) -> str:
    """The host of a server's address, without brackets."""
    return canonical(httpx2.URL(url).host)


class Server:
    """Calls one server. ``credential`` is asked before each call, so that a fresh token takes an old one's place.

    ``remedy`` is what to do if the server does not take it, ``door`` where the paths of its calls begin.
    """

    def __init__(self, url: str, credential: Callable[[], str], ids: Ids, remedy: str = "", *, door: str = APP) -> None:
        self.url = url
        self._door = door
        self._credential = credential
        self._ids = ids
        self._remedy = remedy
        self._client = httpx2.AsyncClient(
            base_url=url,
            timeout=httpx2.Timeout(ANSWER_SECONDS, connect=CONNECT_SECONDS),
            trust_env=not is_this_machine(url),  # no proxy stands between a machine and itself
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._client.aclose()

    async def get(self, path: str, **query: Any) -> dict[str, Any]:
        """The answer to a GET below the door; None values are left out. Raises the refusal as InterlockError."""
        wanted = {name: value for name, value in query.items() if value is not None}
        return _object(await self._send("GET", self._door + path, params=wanted))

    async def get_list(self, path: str) -> list[dict[str, Any]]:
        """The same where the answer is a list."""
        answer = await self._send("GET", self._door + path)
        body = answer.json() if _is_json(answer) else None
        if not isinstance(body, list):
            raise _stranger(f"What answers at {answer.request.url} is no Interlock server")
        return body

    async def post(self, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        """The answer to a POST below the door. Sent twice over a broken connection, it counts once."""
        return _object(await self._change("POST", path, body or {}))

    async def put(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        """The answer to a PUT below the door."""
        return _object(await self._change("PUT", path, body))

    async def patch(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        """The answer to a PATCH below the door."""
        return _object(await self._change("PATCH", path, body))

    async def delete(self, path: str) -> dict[str, Any]:
        """The answer to a DELETE below the door; an empty object if it says nothing."""
        answer = await self._send("DELETE", self._door + path)
        return _object(answer) if answer.content else {}

    async def probe(self, path: str) -> tuple[int, dict[str, Any]]:
        """Status and answer of a path that needs no token."""
        try:
            answer = await self._client.get(path)
        except httpx2.TransportError as error:
            raise self._explain(error) from error
        return answer.status_code, _object(answer) if _is_json(answer) else {}

    @asynccontextmanager
    async def events(self, execution_id: str, after: int) -> AsyncIterator[Frames | None]:
        """The stream of an execution after an event's number; None if there is nothing left to come.

        Raises the refusal as InterlockError, and httpx2.TransportError when the connection breaks.
        """
        headers = {**await self._headers(), "accept": "text/event-stream", "last-event-id": str(after)}
        timeout = httpx2.Timeout(SILENCE_SECONDS, connect=CONNECT_SECONDS)
        path = f"{APP}/executions/{segment(execution_id)}/stream"
        async with self._client.stream("GET", path, headers=headers, timeout=timeout) as answer:
            if answer.status_code == 204:
                yield None
                return
            if answer.status_code != 200:
                await answer.aread()
                raise self._refusal(answer)
            yield aiter(httpx2.EventSource(answer, max_event_size=_MAX_FRAME_BYTES))

    @asynccontextmanager
    async def download(self, path: str) -> AsyncIterator[AsyncIterator[bytes]]:
        """The bytes of a file below the app door."""
        try:
            async with self._client.stream("GET", APP + path, headers=await self._headers()) as answer:
                if answer.status_code != 200:
                    await answer.aread()
                    raise self._refusal(answer)
                yield answer.aiter_bytes()
        except httpx2.TransportError as error:
            raise self._explain(error) from error

    async def _change(self, method: str, path: str, body: dict[str, Any]) -> httpx2.Response:
        headers = {"idempotency-key": str(self._ids.new()), "content-type": "application/json"}
        return await self._send(method, self._door + path, content=strict_json.encode(body), headers=headers)

    async def _send(
        self, method: str, path: str, *, headers: dict[str, str] | None = None, **parts: Any
    ) -> httpx2.Response:
        """Send; what a broken connection left open is sent again if it counts only once."""
        resends = _RESENDS if method in _COUNT_ONCE else 0
        while True:
            try:
                all_headers = {**await self._headers(), **(headers or {})}
                answer = await self._client.request(method, path, headers=all_headers, **parts)
            except httpx2.TransportError as error:
                if resends == 0 or not isinstance(
                    error, httpx2.ReadError | httpx2.WriteError | httpx2.RemoteProtocolError
                ):
                    raise self._explain(error) from error
                resends -= 1
                continue
            if answer.status_code >= 300:
                raise self._refusal(answer)
            return answer

    async def _headers(self) -> dict[str, str]:
        try:
            return {"authorization": f"Bearer {self._credential()}"}
        except InterlockError:
            await self.probe("/live")  # that no server is there would say more than that there is no token for it
            raise

    def _refusal(self, answer: httpx2.Response) -> InterlockError:
        body = answer.json() if _is_json(answer) else None
        if answer.status_code < 500 and not isinstance(body, dict):  # a proxy may be the one that says 502 or 503
            return _stranger(f"What answers at {self.url} is no Interlock server (status {answer.status_code})")
        error = from_answer(answer.status_code, body, answer.headers.get("retry-after"))
        is_shut_out = error.details.get("reason") == "client_disabled"  # a token of another key would be refused, too
        if error.kind is ErrorKind.UNAUTHENTICATED and self._remedy and not is_shut_out:
            error.details["next"] = self._remedy
        noun = answer.request.url.path.removeprefix(self._door).split("/")[1:2]
        error.details["noun"] = noun[0] if noun else ""
        return error

    def _explain(self, error: httpx2.TransportError) -> InterlockError:
        if (problem := _tls_problem(error)) is not None:
            message = f"There is no secure connection to {self.url}: {problem}"
            step = (
                "Write http:// if the server speaks plain HTTP; else its certificate must be one this machine trusts."
            )
            return failure(ErrorKind.UNAVAILABLE, "NO_SECURE_CONNECTION", message, step)
        if isinstance(error, httpx2.ConnectError | httpx2.ConnectTimeout):
            return unknown_name(self.url) if _is_unknown_name(error) else not_running(self.url)
        if isinstance(error, httpx2.TimeoutException):
            message = f"The server at {self.url} did not answer within {ANSWER_SECONDS:.0f} s"
            return failure(ErrorKind.TIMEOUT, "NO_ANSWER", message, "See `interlock health --ready`.")
        message = f"The connection to {self.url} broke: {str(error) or type(error).__name__}"
        return failure(ErrorKind.UNAVAILABLE, "CONNECTION_LOST", message, "See `interlock health`.")


def _is_unknown_name(error: BaseException | None) -> bool:
    while error is not None and not isinstance(error, socket.gaierror):
        error = error.__cause__ or error.__context__
    return error is not None


def _tls_problem(error: BaseException | None) -> str | None:
    """What the encryption of a connection stumbled over, if it did."""
    while error is not None:
        if isinstance(error, ssl.SSLError):
            return (error.reason or str(error)).replace("_", " ").lower()
        error = error.__cause__ or error.__context__
    return None


def segment(value: str) -> str:
    """``value`` as one segment of a path, whatever it holds. Raises WrongUseError for what a path cannot hold."""
    if value in ("", ".", ".."):
        raise WrongUseError(f"{value!r} is no id.", step="See the ids with `interlock list` and `interlock approvals`.")
    return quote(value, safe="")


def _is_json(answer: httpx2.Response) -> bool:
    return "json" in answer.headers.get("content-type", "")


def _object(answer: httpx2.Response) -> dict[str, Any]:
    body = answer.json() if _is_json(answer) else None
    if not isinstance(body, dict):
        raise _stranger(f"What answers at {answer.request.url} is no Interlock server")
    return body


def _stranger(message: str) -> InterlockError:
    return failure(ErrorKind.EXTERNAL, "NOT_INTERLOCK", message, "Name the server's address with --url.")
