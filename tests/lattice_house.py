"""A small server that speaks the lattice door's words literally, and really runs what it is sent.

It is not Interlock: it stands for the contract, so that the client is held to that and not to one implementation.
WebSockets are those of the ``websockets`` library.
"""

from __future__ import annotations

import asyncio
import base64
import inspect
import itertools
import json
import pickle
import textwrap
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager
from typing import Any
from urllib.parse import parse_qs, urlsplit

from websockets.server import ServerProtocol

Json = dict[str, Any]


class Refusal(Exception):
    def __init__(self, status: int, code: str, detail: Any, **headers: str) -> None:
        self.status, self.code, self.detail, self.headers = status, code, detail, headers


class LatticeHouse:
    """Drafts, runs and their frames, in memory. ``asked`` are the requests it got: path, body, headers."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, Json, dict[str, str]]] = []
        self.workflows: dict[str, dict[str, Json]] = {}
        self.edges: set[tuple[str, str]] = set()
        self.runs: dict[str, list[Json]] = {}
        self.told: dict[str, asyncio.Event] = {}
        self.refusals: list[Refusal] = []  # given to the next starts, one each
        self.breaks: list[tuple[int, int]] = []  # (frames, close code) of the next streams; code 0 cuts the connection
        self.busy: list[str] = []  # calls that are turned away, once for each time they stand here
        self.token: str | None = None
        self.is_held = False  # runs begin and do not end
        self.port = 0
        self._ids = (f"id{number}" for number in itertools.count(1))
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    # Requests ------------------------------------------------------------------------------------------------

    async def answer(self, path: str, body: Json) -> Json:
        name = path.strip("/")
        if name in self.busy:
            self.busy.remove(name)
            raise Refusal(429, "RATE_LIMIT_EXCEEDED", "Too many requests", **{"Retry-After": "0"})
        if name == "create_workflow":
            workflow_id = next(self._ids)
            self.workflows[workflow_id] = {}
            return {"workflow_id": workflow_id}
        if name == "run_workflow":
            return self._start(body)
        if name == "cancel_run":
            return self._cancel(body["run_id"])
        tasks = self.workflows.get(body["workflow_id"])
        if tasks is None:
            raise Refusal(404, "NOT_FOUND", f"Workflow {body['workflow_id']} not found")
        if name in ("add_task", "add_langgraph_task"):
            task_id = next(self._ids)
            tasks[task_id] = dict(body)
            return {"task_id": task_id}
        if name == "save_task_and_add_edge":
            tasks[body["task_id"]].update(body)
            for given in body["task_input"]["input_params"].values():
                if given["input_schema"] == "from_task":
                    self.edges.add((given["value"].split(".")[0], body["task_id"]))
            return {}
        if name == "add_edge":
            self.edges.add((body["source_task_id"], body["target_task_id"]))
            return {}
        if name == "run_langgraph_task":
            return await self._call(tasks[body["task_id"]], body)
        raise Refusal(404, "NOT_FOUND", "Not Found")

    def _start(self, body: Json) -> Json:
        if self.refusals:
            raise self.refusals.pop(0)
        run_id = body["run_id"]
        if run_id not in self.runs:
            self.runs[run_id] = []
            self.told[run_id] = asyncio.Event()
            task = asyncio.create_task(self._run(body["workflow_id"], run_id))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        return {"run_id": run_id}

    def _cancel(self, run_id: str) -> Json:
        if run_id not in self.runs:
            raise Refusal(404, "NOT_FOUND", f"Run {run_id} not found")
        if not self._has_ended(run_id):
            self._end(run_id, "", "cancelled", [], [])
        return {"run_id": run_id, "state": self.runs[run_id][-1]["data"]["status"]}

    async def _call(self, task: Json, body: Json) -> Json:
        function = pickle.loads(base64.b64decode(task["serialized_code"]))
        args, kwargs = (pickle.loads(base64.b64decode(body[key])) for key in ("args", "kwargs"))
        try:
            result = function(*args, **kwargs)
            if inspect.isawaitable(result):
                result = await result
        except Exception as error:
            detail = f"Task failed: {type(error).__name__}: {error}"
            raise Refusal(500, "TASK_FAILED", detail, **{"run-id": "r1"}) from error
        return {"result": result, "run_id": "r1"}

    async def close(self) -> None:
        """End what still runs here."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    # Runs ----------------------------------------------------------------------------------------------------

    async def _run(self, workflow_id: str, run_id: str) -> None:
        tasks = self.workflows[workflow_id]
        results: dict[str, Json] = {}
        failed: list[str] = []
        skipped: list[str] = []
        for task_id, task in tasks.items():  # a client adds them in an order in which they can run
            sources = {source for source, target in self.edges if target == task_id}
            if sources & {*failed, *skipped}:
                skipped.append(task_id)
                continue
            named = {"workflow_id": workflow_id, "task_id": task_id}
            place = {"node_ip": "127.0.0.1", "node_id": "local-1", "gpu_id": None, "attempt": 1}
            self._tell(run_id, "start_task", {**named, "task_name": task["task_name"], **place})
            if self.is_held:
                return
            await asyncio.sleep(0)
            try:
                results[task_id] = _called(task, results)
            except Exception as error:
                failed.append(task_id)
                told = f"Task failed: {type(error).__name__}: {error}"
                fields = {"result": told, "error_type": type(error).__name__, "attempt": 1, "will_retry": False}
                self._tell(run_id, "task_exception", {**named, **fields})
            else:
                self._tell(run_id, "finish_task", {**named, "result": results[task_id], "duration_ms": 1})
        self._end(run_id, workflow_id, "failed" if failed else "succeeded", failed, skipped)

    def _end(self, run_id: str, workflow_id: str, status: str, failed: list[str], skipped: list[str]) -> None:
        data = {"workflow_id": workflow_id, "status": status, "failed_tasks": failed, "skipped_tasks": skipped}
        self._tell(run_id, "finish_workflow", data)

    def _tell(self, run_id: str, kind: str, data: Json) -> None:
        frames = self.runs[run_id]
        seq = len(frames) + 2
        told = {"type": kind, "data": {"run_id": run_id, **data}, "seq": seq, "trace_id": "t", "timestamp": "now"}
        frames.append(told)
        self.told[run_id].set()

    def _has_ended(self, run_id: str) -> bool:
        return any(frame["type"] == "finish_workflow" for frame in self.runs[run_id])

    # Connections ---------------------------------------------------------------------------------------------

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                first, *lines = head.decode().split("\r\n")
                headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines if line)}
                path = first.split(" ")[1]
                if headers.get("upgrade") == "websocket":
                    await self._stream(head, path, reader, writer)
                    return
                body = json.loads(await reader.readexactly(int(headers["content-length"])))
                self.asked.append((path, body, headers))
                status, more, content = await self._answered(path, body, headers)
                lines = [f"HTTP/1.1 {status} -", f"Content-Length: {len(content)}", *more]
                writer.write("\r\n".join(lines).encode() + b"\r\n\r\n" + content)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            pass
        finally:
            self._tasks.discard(task)
            writer.close()

    async def _answered(self, path: str, body: Json, headers: dict[str, str]) -> tuple[int, list[str], bytes]:
        try:
            if self.token is not None and headers.get("authorization") != f"Bearer {self.token}":
                raise Refusal(401, "AUTHENTICATION_FAILED", "No valid credential")
            return 200, [], json.dumps({"status": "success", **await self.answer(path, body)}).encode()
        except Refusal as refusal:
            told = {"detail": refusal.detail, "code": refusal.code, "trace_id": "t1"}
            told |= {name.replace("-", "_"): value for name, value in refusal.headers.items()}
            return refusal.status, [f"{n}: {v}" for n, v in refusal.headers.items()], json.dumps(told).encode()

    async def _stream(self, head: bytes, path: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        protocol = ServerProtocol()
        protocol.receive_data(head)
        (request,) = protocol.events_received()
        response = protocol.accept(request)  # type: ignore[arg-type]
        protocol.send_response(response)
        parts = urlsplit(path)
        run_id = parts.path.split("/")[3]
        after = int(parse_qs(parts.query).get("after", ["0"])[0])
        self.asked.append((path, {}, dict(request.headers.raw_items())))  # type: ignore[union-attr]
        left, code = self.breaks.pop(0) if self.breaks else (10**9, 1000)
        if run_id not in self.runs:
            protocol.send_close(4404, "unknown pair")
        else:
            protocol.send_ping(b"are you there")
            async with aclosing(self._frames(run_id, after)) as frames:
                async for frame in frames:
                    if left == 0:
                        break
                    left -= 1
                    text = json.dumps(frame).encode()
                    half = len(text) // 2  # in two pieces, as the protocol allows
                    protocol.send_text(text[:half], fin=False)
                    protocol.send_continuation(text[half:], fin=True)
                    _send(writer, protocol)
            if left == 0 and code == 0:
                writer.transport.abort()
                return
            protocol.send_close(code, "resume after" if code == 1012 else "")
        _send(writer, protocol)
        await writer.drain()
        while not reader.at_eof() and not protocol.close_expected() and (data := await reader.read(4096)):
            protocol.receive_data(data)
            _send(writer, protocol)

    async def _frames(self, run_id: str, after: int) -> AsyncGenerator[Json, None]:
        seen = 0
        while True:
            frames = self.runs[run_id]
            while seen < len(frames):
                frame = frames[seen]
                seen += 1
                if frame["seq"] > after:
                    yield frame
                if frame["type"] == "finish_workflow":
                    return
            self.told[run_id].clear()
            await self.told[run_id].wait()


def _send(writer: asyncio.StreamWriter, protocol: ServerProtocol) -> None:
    for data in protocol.data_to_send():
        writer.write(data)


def _called(task: Json, results: dict[str, Json]) -> Json:
    params = {}
    for given in task["task_input"]["input_params"].values():
        value = given["value"]
        if given["input_schema"] == "from_task":
            source, key = value.split(".output.")
            value = results[source][key]
        params[given["key"]] = value
    if "serialized_code" in task:
        function = pickle.loads(base64.b64decode(task["serialized_code"]))
    else:
        namespace: Json = {}
        exec(textwrap.dedent(task["code_str"]), namespace)
        function = [value for value in namespace.values() if inspect.isfunction(value)][-1]
    result = function(params)
    return result if isinstance(result, dict) else {"result": result}


@asynccontextmanager
async def lattice_house() -> AsyncIterator[LatticeHouse]:
    """A house that listens until the end."""
    house = LatticeHouse()
    server = await asyncio.start_server(house.serve, "127.0.0.1", 0)
    house.port = server.sockets[0].getsockname()[1]
    try:
        yield house
    finally:
        server.close()
        await house.close()
