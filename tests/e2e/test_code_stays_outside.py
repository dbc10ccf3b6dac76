"""Users' code, by every call that can carry it: nothing of it is compiled, imported or unpickled here (I1, I2).

Two servers outside local mode: on one of them code is switched on, and all that Python runs in it is written down.
"""

from __future__ import annotations

import asyncio
import base64
import json
import os
import signal
import tempfile
import textwrap
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import asyncpg
import cloudpickle
import httpx2
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from audited_server import BEGUN
from conformance.sandbox_house import good_walls
from figures import Note
from interlock.core.principal import SCOPES_OF, Role, Scope
from serving import Serving

AUDITED = str(Path(__file__).parents[1] / "audited_server.py")
DENIED = "Code execution is disabled on this server"
SOON = 30.0


@dataclass(frozen=True)
class Servers:
    """``on`` runs code and writes down in ``audit`` what Python runs in it; ``off`` runs none, as by default."""

    on: Serving
    off: Serving
    audit: Path


@pytest.fixture(scope="module")
def servers(database: Any) -> Iterator[Servers]:
    good_walls()
    with ExitStack() as stack:
        folders = [Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="interlock-code-"))) for _ in range(2)]
        audit = folders[0] / "audit.jsonl"
        program = (AUDITED, str(audit))
        on = Serving(folders[0], database.serve_url, program=program, INTERLOCK_CODE_EXECUTION="true")
        stack.callback(on.stop)
        off = Serving(folders[1], database.serve_url)
        stack.callback(off.stop)
        yield Servers(on.ready(), off.ready(), audit)


class Bomb:
    """A pickle that leaves a file as soon as it is read, in whatever process that is."""

    def __init__(self, path: str) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return (os.system, (f"touch {self.path}",))


def packed(value: Any) -> str:
    return base64.b64encode(cloudpickle.dumps(value)).decode()


@dataclass
class Sender:
    """Sends code with ``word`` in it by every call that can carry it."""

    http: httpx2.AsyncClient
    serving: Serving
    token: str
    word: str
    canary: str

    async def post(self, path: str, body: Any, *statuses: int) -> Any:
        answer = await self.http.post(path, json=body)
        assert answer.status_code in (statuses or (200,)), (path, answer.status_code, answer.text)
        return answer.json()

    def source(self) -> str:
        """A module that says at once that it is run."""
        return textwrap.dedent(f"""
            '''{self.word}'''
            import os, sys
            open({self.canary!r}, "w").close() if os.path.isdir(os.path.dirname({self.canary!r})) else None
            sys.modules[{self.word!r}] = sys
            import {self.word}
            def {self.word}(params):
                exec("x = 1")
                return {{"word": {self.word!r}, "run": os.environ["INTERLOCK_RUN_ID"]}}
        """)

    async def send_all(self) -> None:
        await self.graph()
        await self.calls()
        await self.refused()
        await self.app()
        await self.flow()

    async def task(self, workflow_id: str, **more: Any) -> str:
        told = {"workflow_id": workflow_id, "task_name": self.word}
        task_id = str((await self.post("/add_task", told))["task_id"])
        body = {"workflow_id": workflow_id, "task_id": task_id, "task_input": {}, "task_output": {}, **more}
        await self.post("/save_task_and_add_edge", body)
        return task_id

    async def graph(self) -> None:
        workflow_id = (await self.post("/create_workflow", {"name": self.word}))["workflow_id"]
        first = await self.task(workflow_id, code_str=self.source())
        reads = {"key": "x", "input_schema": "from_task", "data_type": "str", "value": f"{first}.output.word"}
        await self.task(workflow_id, code_str=self.source(), task_input={"input_params": {"1": reads}})
        await self.task(workflow_id, serialized_code=packed(Bomb(self.canary)))
        await self.task(workflow_id, code_ser=packed(lambda params: {"word": 1}))
        body = {"workflow_id": workflow_id, "task_id": first, "code_str": self.source() + "\n#again"}
        await self.post("/save_task", body | {"task_input": {}, "task_output": {}})
        assert (await self.http.get(f"/get_workflow_tasks/{workflow_id}")).status_code == 200
        run_id = (await self.post("/run_workflow", {"workflow_id": workflow_id}))["run_id"]
        kinds = [frame["type"] for frame in await self.watched(workflow_id, run_id)]
        assert kinds.count("finish_task") == 3
        assert kinds.count("task_exception") == 1
        assert kinds[-1] == "finish_workflow"

    async def watched(self, workflow_id: str, run_id: str) -> list[Any]:
        url = self.serving.url.replace("http://", "ws://")
        headers = {"Authorization": f"Bearer {self.token}"}
        frames = []
        address = f"{url}/get_workflow_res/{workflow_id}/{run_id}"
        async with asyncio.timeout(SOON), connect(address, additional_headers=headers) as socket:
            try:
                while True:
                    frames.append(json.loads(await socket.recv()))
            except ConnectionClosed:
                return frames

    async def calls(self) -> None:
        workflow_id = (await self.post("/create_workflow", {}))["workflow_id"]
        told = {"workflow_id": workflow_id, "task_type": "langgraph", "task_name": self.word}
        good = await self.post("/add_langgraph_task", told | {"code_ser": packed(lambda *given, **named: len(given))})
        bad = await self.post("/add_langgraph_task", told | {"code_ser": packed(Bomb(self.canary))})
        plain, bomb = {"args": packed((1, 2)), "kwargs": packed({})}, packed(Bomb(self.canary))
        named = {"workflow_id": workflow_id, "task_id": good["task_id"]}
        assert (await self.post("/run_langgraph_task", named | plain))["result"] == 2
        await self.post("/run_langgraph_task", named | plain | {"args": bomb}, 500)
        await self.post("/run_langgraph_task", named | plain | {"kwargs": bomb}, 500)
        await self.post("/run_langgraph_task", named | plain | {"task_id": bad["task_id"]}, 500)

    async def refused(self) -> None:
        workflow_id = (await self.post("/create_workflow", {}))["workflow_id"]
        task_id = (await self.post("/add_task", {"workflow_id": workflow_id, "task_name": self.word}))["task_id"]
        for code in ({"code_str": f"def {self.word}(:"}, {"serialized_code": "gASVAAAA"}, {"code_str": "\u202e = 1"}):
            await self.post("/save_task", {"workflow_id": workflow_id, "task_id": task_id, **code})
        await self.post("/save_task", {"workflow_id": workflow_id, "task_id": task_id, "serialized_code": "!"}, 400)
        unknown = {"workflow_id": str(uuid4()), "task_id": task_id, "code_str": self.source()}
        await self.post("/save_task", unknown, 404)
        await self.post("/import", {"code": self.source()}, 404, 405)

    async def app(self) -> None:
        """A definition names code by its digest; what stands elsewhere in it is text."""
        hidden = f"{{{{ __import__('os').system('touch {self.canary}') }}}}"
        nodes = [
            {"id": "start", "type": "trigger"},
            {"id": "code", "type": "code", "parameters": {"code": "0" * 64, "arguments": {"x": self.source()}}},
        ]
        graph = {"name": self.word, "nodes": nodes, "connections": [{"from_node": "start", "to_node": "code"}]}
        await self.post("/api/app/workflows/validate", graph)
        stored = await self.post("/api/app/workflows", graph)
        told = {"inputs": {"code": self.source()}, "wait_ms": 10_000}
        ended = await self.post(f"/api/app/workflows/{stored['workflow_id']}/execute", told)
        assert ended["status"] == "ERROR", ended
        nodes[1] = {"id": "code", "type": "transform", "parameters": {"mapping": hidden}}
        await self.post("/api/app/workflows/validate", graph)
        await self.post("/api/app/workflows", graph, 400, 422)
        nodes[1] = {"id": "code", "type": "python", "parameters": {"function": "os:system", "arguments": self.word}}
        await self.post("/api/app/workflows", graph, 200, 400, 422)

    async def flow(self) -> None:
        text = f"""
            name: {self.word}
            states: [a, end]
            state_node_map: {{a: builtin://echo}}
            transitions:
              - {{from: a, event: STEP_DONE, to: end, condition: "__import__('os').system('touch {self.canary}')"}}
        """
        for content in (text, f"!!python/object/apply:os.system ['touch {self.canary}']"):
            body = {"flow_id": self.word, "name": self.word, "yaml_content": textwrap.dedent(content)}
            await self.post("/api/registry/flows", body, 200, 400, 422)


def noted(audit: Path) -> list[Any]:
    return [json.loads(line) for line in audit.read_text().splitlines()] if audit.exists() else []


async def test_nothing_that_users_send_is_compiled_imported_or_unpickled_in_the_server(
    servers: Servers, tmp_path: Path, note_figures: Note
) -> None:
    """The same twice: whatever the server loads of its own for this, it has loaded the first time."""
    tenant_id, canary = f"tenant-{uuid4()}", tmp_path / "canary"
    token = servers.on.mint("ann", tenant_id, frozenset(Scope))
    async with servers.on.client(token) as http:
        await Sender(http, servers.on, token, "warms_up", str(canary)).send_all()
        os.kill(servers.on.process.pid, signal.SIGUSR2)
        async with asyncio.timeout(SOON):
            while not noted(servers.audit):
                await asyncio.sleep(0.01)  # a signal answers nobody
        await Sender(http, servers.on, token, "cAnArY_code", str(canary)).send_all()
    first, *events = noted(servers.audit)
    assert (first["event"], first["given"][1]) == ("compile", BEGUN)
    assert events == []
    assert not canary.exists()
    note_figures(gateway_events=len(events))


async def test_code_whose_row_was_changed_is_refused_before_it_is_run(
    servers: Servers, database: Any, tmp_path: Path
) -> None:
    """I2: the seal is looked at by the server, before any sandbox sees the bytes."""
    tenant_id, canary = f"tenant-{uuid4()}", tmp_path / "canary"
    token = servers.on.mint("ann", tenant_id, frozenset(Scope))
    async with servers.on.client(token) as http:
        sender = Sender(http, servers.on, token, "sealed", str(canary))
        workflow_id = (await sender.post("/create_workflow", {}))["workflow_id"]
        await sender.task(workflow_id, code_str="def f(params):\n    return {}")
        superuser = await asyncpg.connect(database.superuser_url)
        bomb = cloudpickle.dumps(Bomb(str(canary)))
        changed = "update interlock.code set content = $2, form = 'pickle' where tenant_id = $1"
        assert await superuser.execute(changed, tenant_id, bomb) == "UPDATE 1"
        await superuser.close()
        run_id = (await sender.post("/run_workflow", {"workflow_id": workflow_id}))["run_id"]
        frames = await sender.watched(workflow_id, run_id)
    failed = next(frame["data"] for frame in frames if frame["type"] == "task_exception")
    assert failed["error_type"] == "CODE_SEAL_BROKEN"
    assert not canary.exists()


CARRIERS: dict[str, dict[str, Any]] = {
    "/save_task": {"code_str": "def f(p): return {}"},
    "/save_task_and_add_edge": {"serialized_code": "gARLAS4="},
    "/add_langgraph_task": {"code_ser": "gARLAS4=", "task_type": "langgraph", "task_name": "f"},
    "/run_langgraph_task": {"args": "gAQpLg==", "kwargs": "gAR9Lg=="},
}
"""The calls that carry code, and what they carry."""
SCOPE_OF = dict.fromkeys(CARRIERS, Scope.WORKFLOWS_WRITE) | {"/run_langgraph_task": Scope.WORKFLOWS_EXECUTE}


def holders() -> dict[str, frozenset[str]]:
    """Everybody there can be: each role, each scope alone, each with what the calls need besides, and nobody."""
    needed = frozenset({Scope.WORKFLOWS_WRITE, Scope.WORKFLOWS_EXECUTE})
    found: dict[str, frozenset[str]] = {f"role {role}": SCOPES_OF[role] for role in Role}
    found |= {f"only {scope}": frozenset({str(scope)}) for scope in Scope}
    found |= {f"{scope} and workflows": needed | {str(scope)} for scope in Scope}
    found["all but code"] = frozenset(map(str, Scope)) - {Scope.CODE_WRITE, Scope.ADMIN}
    return found


def expected(path: str, scopes: frozenset[str], *, is_on: bool) -> int:
    """The status that the contract has for such a call; 404 is what a caller who may gets of a workflow that is not."""
    if Scope.ADMIN not in scopes and (SCOPE_OF[path] not in scopes or not is_on or Scope.CODE_WRITE not in scopes):
        return 403
    return 404 if is_on else 403


@pytest.mark.parametrize("is_on", [True, False], ids=["on", "off"])
async def test_code_is_taken_of_nobody_but_whoever_may_send_it(
    servers: Servers, is_on: bool, note_figures: Note
) -> None:
    serving = servers.on if is_on else servers.off
    wrong, cells = [], 0
    tenant_id, ids = f"tenant-{uuid4()}", {"workflow_id": str(uuid4()), "task_id": str(uuid4())}
    async with httpx2.AsyncClient(base_url=serving.url, timeout=SOON) as http:
        for name, scopes in holders().items():
            headers = {"authorization": f"Bearer {serving.mint('ann', tenant_id, scopes)}"}
            for path, carried in CARRIERS.items():
                answer = await http.post(path, json=ids | carried, headers=headers)
                cells += 1
                wanted = expected(path, scopes, is_on=is_on)
                is_told = is_on or SCOPE_OF[path] not in scopes or answer.json()["detail"] == DENIED
                if answer.status_code != wanted or not is_told:
                    wrong.append((name, path, answer.status_code, wanted, answer.text))
        for path, carried in CARRIERS.items():
            cells += 1
            assert (await http.post(path, json=ids | carried)).status_code == 401
    assert not wrong, wrong[:10]
    note_figures(code_cells=cells)


async def test_where_code_is_switched_off_none_that_was_kept_before_is_run(servers: Servers) -> None:
    """Both servers have one database: what the one keeps the other does not run."""
    tenant_id = f"tenant-{uuid4()}"
    async with servers.off.client(servers.off.mint("ann", tenant_id, frozenset(Scope))) as http:
        nodes = [{"id": "code", "type": "code", "parameters": {"code": "0" * 64}}]
        stored = (await http.post("/api/app/workflows", json={"name": "kept", "nodes": nodes})).json()
        told = await http.post(f"/api/app/workflows/{stored['workflow_id']}/execute", json={"wait_ms": 10_000})
        assert told.json()["status"] == "ERROR", told.text
        found = await http.get(f"/api/app/executions/{told.json()['execution_id']}")
    assert "SANDBOX_UNAVAILABLE" in found.text
