"""Large results as clients see them: numbers are lists however they travelled, and bytes can be fetched as such."""

from __future__ import annotations

import base64
import io
from collections.abc import AsyncIterator
from hashlib import sha256
from typing import Any

import httpx2
import numpy
import pytest

from doors.lattice_house import Lattice, of_task
from doors.test_lattice_calls import added, call
from doors.test_lattice_running import results
from interlock.core.binary import BINARY
from served import RunningServer

pytestmark = pytest.mark.xdist_group("served")

NUMBERS = 200_000
"""Doubles: 1.6 MB."""
MADE = f"""
import numpy
def made(params):
    array = numpy.arange({NUMBERS}) / 4
    table = array.reshape(2, -1)
    odd = array.copy()
    odd[7] = numpy.nan
    deep = {{"in": {{"it": array}}}}
    return {{"list": array.tolist(), "deep": deep, "table": table, "odd": odd, "bytes": b"\\0\\xff", "n": 1}}
"""
TYPE = "def kind(params):\n    return {'kind': type(params['x']).__name__}"


@pytest.fixture
async def lattice(server: RunningServer) -> AsyncIterator[Lattice]:
    async with httpx2.AsyncClient(base_url=server.url, timeout=30.0) as client:
        yield Lattice(client, server.url)


async def test_arrays_are_lists_to_clients_and_arrays_to_tasks(lattice: Lattice) -> None:
    workflow_id = await lattice.workflow()
    made = await lattice.saved(workflow_id, "made", MADE)
    kind = await lattice.saved(workflow_id, "kind", TYPE, task_input=of_task(x=f"{made}.table"))
    run_id = await lattice.run(workflow_id)
    given = results(await lattice.frames(workflow_id, run_id))
    numbers = [number / 4 for number in range(NUMBERS)]
    shown = given[made]
    assert list(shown) == ["list", "deep", "table", "odd", "bytes", "n"]
    assert shown["list"] == shown["deep"]["in"]["it"] == numbers
    assert shown["table"] == [numbers[: NUMBERS // 2], numbers[NUMBERS // 2 :]]
    assert given[kind] == {"kind": "ndarray"}

    odd = await fetched(lattice, run_id, shown["odd"][BINARY])  # JSON has no NaN
    assert odd.headers["content-type"] == "application/x-npy"
    assert odd.headers["content-disposition"].endswith(".npy")
    array = numpy.load(io.BytesIO(odd.content), allow_pickle=False)
    assert (array.shape, bool(numpy.isnan(array[7]))) == ((NUMBERS,), True)

    few = await fetched(lattice, run_id, shown["bytes"][BINARY])
    assert (few.content, few.headers["content-type"]) == (b"\0\xff", "application/octet-stream")

    again = {"if-none-match": few.headers["etag"]}
    place = f"/runs/{run_id}/values/{shown['bytes'][BINARY]['sha256']}"
    assert (await lattice.http.get(place, headers=again)).status_code == 304
    for nothing in ("0" * 64, "x", "%25"):
        await lattice.call("GET", f"/runs/{run_id}/values/{nothing}", 404)


async def fetched(lattice: Lattice, run_id: str, told: Any) -> httpx2.Response:
    """The bytes that a result tells of, by their digest."""
    answer = await lattice.http.get(f"/runs/{run_id}/values/{told['sha256']}")
    assert answer.status_code == 200, answer.text
    assert sha256(answer.content).hexdigest() == told["sha256"]
    assert (len(answer.content), answer.headers["etag"]) == (told["size"], f'"{told["sha256"]}"')
    assert base64.b64decode(told["base64"]) == answer.content
    return answer


async def test_a_call_gives_lists_and_its_run_shows_them(lattice: Lattice) -> None:
    workflow_id = await lattice.workflow()
    task_id = await added(lattice, workflow_id, f"import numpy\ndef f():\n    return {{'y': numpy.arange({NUMBERS})}}")
    answer = await lattice.post("/run_langgraph_task", call(workflow_id, task_id))
    assert answer["result"] == {"y": list(range(NUMBERS))}
    run = await lattice.call("GET", f"/runs/{answer['run_id']}")
    assert run["final_output"] == {"result": answer["result"]}


async def test_what_a_run_leaves_out_and_its_files_can_be_fetched(lattice: Lattice) -> None:
    workflow_id = await lattice.workflow()
    code = (
        "def f():\n    open('artifacts/n.txt', 'w').write('1')\n    return {'a': 'x' * 9_000_000, 'b': 'y' * 100_000}"
    )
    task_id = await added(lattice, workflow_id, code)
    place = f"/runs/{(await lattice.post('/run_langgraph_task', call(workflow_id, task_id)))['run_id']}"
    shown = (await lattice.call("GET", place))["final_output"]["result"]
    assert shown["a"] == "x" * 9_000_000
    rest = await lattice.http.get(f"{place}/values/{shown['b']['$omitted']['sha256']}")
    assert (rest.json(), rest.headers["content-type"]) == ("y" * 100_000, "application/json")

    file = await lattice.http.get(f"{place}/artifacts/n.txt")
    assert (file.text, file.headers["content-disposition"]) == ("1", "attachment; filename*=UTF-8''n.txt")
    await lattice.call("GET", f"{place}/artifacts/other", 404)
