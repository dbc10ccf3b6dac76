"""The filter of system calls: what is refused in the real sandbox, and what ordinary code still does (I3)."""

from __future__ import annotations

import platform
import struct
from collections.abc import AsyncIterator
from errno import ENOSYS, EPERM

import pytest
import pytest_asyncio

from conformance.executor_trial import KeptBlobs, Trial
from conformance.sandbox_house import Cellblock, KeptCode, good_walls
from interlock.backends.executor.sandbox import walls
from interlock.backends.executor.sandbox.executor import SandboxExecutor
from interlock.backends.executor.sandbox.seccomp import ABIS, NAMESPACES, NEWEST, Abi, program_of
from interlock.nodes.testing import ScriptedEgress

ALLOW = 0x7FFF_0000
CLONE3 = 435


@pytest_asyncio.fixture(scope="module")
async def block(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Cellblock]:
    if good_walls().calls is None:
        pytest.skip(good_walls().reason)
    shelf, egress, blobs = KeptCode(), ScriptedEgress([]), KeptBlobs()
    scratch = tmp_path_factory.mktemp("scratch")
    executor = SandboxExecutor(good_walls(), shelf, egress, blobs, scratch=scratch, size=2, memory=512)
    await executor.start()
    yield Cellblock(Trial(executor, egress, blobs), shelf)
    await executor.stop(5)


CALLS = """
import ctypes
libc = ctypes.CDLL(None, use_errno=True)
libc.syscall.restype = ctypes.c_long

def answer(number, *words):
    words = [ctypes.c_long(word) for word in (*words, *[0] * (6 - len(words)))]
    ctypes.set_errno(0)
    return 0 if libc.syscall(ctypes.c_long(number), *words) != -1 else ctypes.get_errno()

def f(p):
    return {name: answer(*words) for name, words in p.items()}
"""


async def test_each_refused_call_answers_so_in_the_sandbox(block: Cellblock) -> None:
    """Arguments that are all zero fail otherwise, or succeed: EPERM for all of them is the filter's word."""
    abi = ABIS[platform.machine()]
    asked = {name: [number] for name, number in abi.refused.items()}
    flags = [1 << bit for bit in range(32) if NAMESPACES >> bit & 1]
    asked |= {f"clone {flag:x}": [abi.clone, flag] for flag in flags}
    asked |= {f"socket {family}": [abi.socket, family, 3] for family in range(3, 46) if family != 10}
    asked |= {"socketpair 16": [abi.socketpair, 16, 3]}
    assert await block.run(CALLS, asked) == dict.fromkeys(asked, EPERM)
    unknown = {"clone3": [CLONE3], "to come": [NEWEST + 1], "x32": [0x4000_0000]}
    assert await block.run(CALLS, unknown) == dict.fromkeys(unknown, ENOSYS)


@pytest.mark.skipif(platform.machine() != "x86_64", reason="the 32-bit calls of x86")
async def test_calls_of_32_bit_are_refused(block: Cellblock) -> None:
    """``int 0x80`` with the number of getpid: answered by the kernel, it would be a positive number."""
    text = r"""
    import ctypes, mmap
    def f(p):
        page = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
        page.write(b"\xb8\x14\x00\x00\x00\xcd\x80\xc3")
        start = ctypes.addressof(ctypes.c_char.from_buffer(page))
        return ctypes.CFUNCTYPE(ctypes.c_int)(start)()
    """
    assert await block.run(text) == {"result": -EPERM}


ORDINARY = """
import asyncio, concurrent.futures, multiprocessing, socket, sqlite3, subprocess, tempfile, threading

def double(x):
    return 2 * x

def send_double(pipe, lock):
    with lock:
        pipe.send([double(1), double(2)])

async def among_tasks():
    process = await asyncio.create_subprocess_exec("echo", "four", stdout=subprocess.PIPE)
    return (await process.communicate())[0].decode()

def by_socket():
    with socket.create_server(("127.0.0.1", 0)) as server:
        with socket.create_connection(server.getsockname()) as client:
            client.sendall(b"six")
            return server.accept()[0].recv(3).decode()

def f(p):
    said = []
    thread = threading.Thread(target=lambda: said.append("one"))
    thread.start()
    thread.join()
    ours, theirs = multiprocessing.Pipe()
    process = multiprocessing.get_context("fork").Process(target=send_double, args=(theirs, multiprocessing.Lock()))
    process.start()
    said.append(ours.recv())
    process.join()
    with concurrent.futures.ThreadPoolExecutor(4) as threads:
        said.append(list(threads.map(double, [3])))
        said.append(threads.submit(asyncio.run, among_tasks()).result())
    said.append(subprocess.run(["sh", "-c", "echo five | cat"], capture_output=True, text=True, check=True).stdout)
    said.append(by_socket())
    said.append(socket.getaddrinfo("127.0.0.1", 7, type=socket.SOCK_STREAM)[0][4][1])
    with tempfile.NamedTemporaryFile() as file:
        said.append(sqlite3.connect(file.name).execute("select 8").fetchone()[0])
    return said
"""


async def test_ordinary_code_notices_nothing(block: Cellblock) -> None:
    told = await block.run(ORDINARY)
    assert told == {"result": ["one", [2, 4], [6], "four\n", "five\n", "six", 7, 8]}


@pytest.mark.parametrize("library", ["numpy", "langgraph"])
async def test_libraries_notice_nothing(block: Cellblock, library: str) -> None:
    pytest.importorskip(library)
    text = {
        "numpy": """
        import numpy as np
        def f(p):
            square = np.arange(250_000.0).reshape(500, 500) / 250_000
            return bool(np.isfinite(np.linalg.svd(square @ square)[1]).all())
        """,
        "langgraph": """
        from typing import TypedDict
        from langgraph.graph import END, START, StateGraph
        class State(TypedDict):
            x: int
        def f(p):
            graph = StateGraph(State)
            graph.add_node("next", lambda state: {"x": state["x"] + 1})
            graph.add_edge(START, "next")
            graph.add_edge("next", END)
            return graph.compile().invoke({"x": 1}) == {"x": 2}
        """,
    }
    assert await block.run(text[library]) == {"result": True}


def answer_of(program: bytes, abi: int, number: int, first: int = 0) -> int:
    """What a filter answers: the kernel's machine for it, as far as ours is written for it."""
    words = {0: number, 4: abi, 16: first}
    code, place, held = list(struct.iter_unpack("<HBBI", program)), 0, 0
    while True:
        kind, yes, no, value = code[place]
        place += 1
        if kind == 0x06:
            return int(value)
        if kind == 0x20:
            held = words[value]
            continue
        place += yes if {0x15: held == value, 0x25: held > value, 0x45: held & value != 0}[kind] else no


@pytest.mark.parametrize("machine", sorted(ABIS))
def test_the_program_refuses_its_list_and_nothing_else(machine: str) -> None:
    """On every machine there is a program for, also those that this one is not."""
    abi: Abi = ABIS[machine]
    program = program_of(abi)
    seen = {number: answer_of(program, abi.audit, number) for number in range(NEWEST + 1)}
    refused = {number for number, answer in seen.items() if answer == 0x0005_0000 | EPERM}
    sockets = {abi.socket, abi.socketpair}
    assert refused == set(abi.refused.values()) | sockets  # of family 0, as asked here
    assert {number for number, answer in seen.items() if answer == ALLOW} == set(seen) - refused - {CLONE3}
    assert {family for family in range(64) if answer_of(program, abi.audit, abi.socket, family) == ALLOW} == {1, 2, 10}
    assert answer_of(program, abi.audit, abi.clone, 0x0100_0011) == ALLOW
    others = (each.audit for each in ABIS.values() if each is not abi)
    for foreign in (0x4000_0003, 0x4000_0028, *others):
        assert answer_of(program, foreign, 39) == 0x0005_0000 | EPERM


def test_a_machine_without_a_filter_is_told_of(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("platform.machine", lambda: "riscv64")
    if good_walls().mode == "bwrap":
        found = walls.find_walls("bwrap", is_local=True)
        assert found.calls is None
        assert "no seccomp here" in found.reason


def test_a_filter_the_kernel_does_not_take_is_told_of_and_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    good_walls()
    monkeypatch.setattr(walls, "filter_here", lambda: b"no filter")
    found = walls.find_walls("bwrap", is_local=True)
    assert (found.mode, found.calls) == ("bwrap", None)
    assert "no seccomp here: bubblewrap fails here" in found.reason
