"""Bytes, arrays and tables between functions: as they were, and JSON to everybody else."""

from __future__ import annotations

import base64
import io
import sys
from collections.abc import AsyncIterator
from hashlib import sha256
from typing import Any

import numpy
import pytest
import pytest_asyncio

from conformance.executor_trial import KeptBlobs, Trial
from conformance.sandbox_house import Cellblock, KeptCode, good_walls
from interlock.backends.executor.sandbox.executor import SandboxExecutor
from interlock.core.binary import ARROW, BINARY, BYTES, NUMPY
from interlock.nodes.code.binary import pack, unpack
from interlock.nodes.testing import ScriptedEgress
from interlock.ports.node import NodeFailed


@pytest_asyncio.fixture(scope="module")
async def block(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Cellblock]:
    shelf, egress, blobs = KeptCode(), ScriptedEgress([]), KeptBlobs()
    executor = SandboxExecutor(
        good_walls(), shelf, egress, blobs, scratch=tmp_path_factory.mktemp("scratch"), size=1, memory=512
    )
    await executor.start()
    yield Cellblock(Trial(executor, egress, blobs), shelf)
    await executor.stop(5)


async def test_bytes_and_large_arrays_come_to_the_next_function_as_they_were(block: Cellblock) -> None:
    made = await block.run(
        """
        import numpy
        def f(p):
            return {
                "bytes": b"\\0\\xff", "view": memoryview(b"abc"), "inside": {"array": numpy.arange(200_000) / 7},
                "small": numpy.arange(3), "one": numpy.float64(0.5),
            }
        """
    )
    assert made["small"] == [0, 1, 2]
    assert made["one"] == 0.5
    told = made["bytes"][BINARY]
    assert (told["content_type"], told["size"]) == (BYTES, 2)
    assert (base64.b64decode(told["base64"]), told["sha256"]) == (b"\0\xff", sha256(b"\0\xff").hexdigest())
    assert made["inside"]["array"][BINARY]["content_type"] == NUMPY
    got = await block.run(
        """
        import numpy
        def f(p):
            array = p["inside"]["array"]
            is_same = array.dtype == float and bool(numpy.array_equal(array, numpy.arange(200_000) / 7))
            return [p["bytes"] == b"\\0\\xff", p["view"] == b"abc", is_same, p["small"], p["one"]]
        """,
        made,
    )
    assert got == {"result": [True, True, True, [0, 1, 2], 0.5]}


async def test_a_result_may_be_bytes_and_nothing_else(block: Cellblock) -> None:
    made = await block.run("def f(p): return b'abc'")
    assert base64.b64decode(made[BINARY]["base64"]) == b"abc"
    assert await block.run("def f(p): return len(p)", made) == {"result": 3}
    assert (await block.run("def f(p): return [b'abc']"))[0] == "RESULT_NOT_JSON"
    assert (await block.run("def f(p): return bytes(13 << 20)"))[0] == "RESULT_TOO_LARGE"


async def test_what_is_said_to_be_an_array_may_hold_no_pickle(block: Cellblock) -> None:
    file = io.BytesIO()
    numpy.save(file, numpy.array([{}], dtype=object), allow_pickle=True)
    text = base64.b64encode(file.getvalue()).decode()
    for given in (text, "no base64", base64.b64encode(b"abc").decode()):
        value = {BINARY: {"content_type": NUMPY, "base64": given}}
        assert (await block.run("def f(p): return 1", {"x": value}))[0] == "BINARY_INVALID"


@pytest.mark.parametrize("value", [{}, {"a": [1, {"b": None}]}, [1.5], {BINARY: 1}, {BINARY: {"a": 1}}, "text", None])
def test_everything_else_is_left_alone(value: Any) -> None:
    assert pack(value) is value
    assert unpack(value) is value


def test_a_table_is_a_stream_of_arrow() -> None:
    arrow = pytest.importorskip("pyarrow")
    table = arrow.table({"a": [1, 2], "b": ["x", None]})
    packed = pack({"table": table})
    assert packed["table"][BINARY]["content_type"] == ARROW
    assert unpack(packed)["table"].equals(table)


def test_a_table_is_bytes_where_no_library_reads_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow.ipc", None)
    value = {BINARY: {"content_type": ARROW, "base64": base64.b64encode(b"stream").decode()}}
    assert unpack(value) == b"stream"
    with pytest.raises(NodeFailed):
        unpack({BINARY: {"content_type": ARROW, "base64": "?"}})
