"""Node types that try an executor out, as a package of somebody else would bring them. Children load them too."""

from __future__ import annotations

import asyncio
import fcntl
import os
import signal
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from interlock.core.errors import ErrorKind, InterlockError
from interlock.core.node_type import NodeType
from interlock.nodes import NodeRegistry
from interlock.nodes import load as load_shipped
from interlock.ports.node import Attempt, Done, NodeFailed, Services, Suspend

WAKE_AT = datetime(2027, 1, 1, tzinfo=UTC)


def load() -> NodeRegistry:
    """The shipped types and the probes."""
    registry = load_shipped()
    registry.add(Plain())
    registry.add(Async())
    return registry


def hold(path: str) -> int:
    """Take the lock of a file, which the kernel gives back when the work that holds it is dead."""
    file = os.open(path, os.O_RDWR | os.O_CREAT)
    fcntl.flock(file, fcntl.LOCK_EX)
    os.write(file, b"x")
    return file


class Plain:
    """A node that answers at once."""

    type = NodeType(name="probe_plain", title="Plain probe", description="Tries an executor out.")

    def run(self, attempt: Attempt, services: Services) -> Any:
        return _ANSWERS[attempt.parameters["do"]](attempt)


class Async:
    """A node that takes its time."""

    type = NodeType(name="probe", title="Probe", description="Tries an executor out.")

    async def run(self, attempt: Attempt, services: Services) -> Any:
        await asyncio.sleep(0)
        do = attempt.parameters["do"]
        if do in _ANSWERS:
            return _ANSWERS[do](attempt)
        return await getattr(self, f"_{do}")(attempt.parameters, services)

    async def _work(self, given: dict[str, Any], services: Services) -> Done:
        file = hold(given["lock"])
        try:
            services.report(0.5, "working")
            await asyncio.sleep(60)
        finally:
            os.close(file)
        return Done(output="worked to the end")

    async def _count(self, given: dict[str, Any], services: Services) -> Done:
        for step in range(given["steps"]):
            services.report(step / given["steps"], f"step {step}", {"step": step})
            await asyncio.sleep(0)
        return Done(output=given["steps"])

    async def _count_too_far(self, given: dict[str, Any], services: Services) -> Done:
        services.report(7.0, "done and done", None)
        return Done()

    async def _report_nonsense(self, given: dict[str, Any], services: Services) -> Done:
        services.report(0.1, "", object())
        return Done()

    async def _report_in_a_thread(self, given: dict[str, Any], services: Services) -> Done:
        thread = threading.Thread(target=services.report, args=(0.25, "from a thread"))
        thread.start()
        await asyncio.to_thread(thread.join)
        await asyncio.sleep(0)
        return Done()

    async def _write(self, given: dict[str, Any], services: Services) -> Done:
        ref = await services.write_artifact(given["name"], given["text"].encode(), "text/plain")
        return Done(output=ref.sha256, artifacts=(ref,))

    async def _write_much(self, given: dict[str, Any], services: Services) -> Done:
        ref = await services.write_artifact("much.bin", b"x" * given["size"], "text/plain")
        return Done(artifacts=(ref,))

    async def _call(self, given: dict[str, Any], services: Services) -> Done:
        answer = await services.egress.request(
            "POST", given["url"], headers={"a": "b"}, body=b"\x00\xff", timeout=5, max_bytes=10
        )
        return Done(output=[answer.status, dict(answer.headers), list(answer.body), answer.truncated])

    async def _cancel_itself(self, given: dict[str, Any], services: Services) -> Done:
        raise asyncio.CancelledError

    async def _refuse_to_stop(self, given: dict[str, Any], services: Services) -> Done:
        end = time.monotonic() + given["seconds"]
        while time.monotonic() < end:
            try:
                await asyncio.sleep(0.01)
            except asyncio.CancelledError:
                continue
        return Done(output="never stopped")


def _fail(attempt: Attempt, *, retryable: bool) -> Done:
    raise NodeFailed("NO_STOCK", "none left", retryable=retryable, details={"sku": 7})


def _refuse(attempt: Attempt) -> Done:
    raise InterlockError(ErrorKind.EXTERNAL, "TILL_OFFLINE", "The till is offline", retryable=True, details={"till": 1})


def _raise(error: BaseException) -> Done:
    raise error


def _change_everything(attempt: Attempt) -> Done:
    attempt.parameters["changed"] = True
    attempt.blackboard["changed"] = True
    return Done(output="changed")


_kept: list[bytes] = []


def _leak(attempt: Attempt) -> Done:
    _kept.append(b"x" * attempt.parameters["bytes"])
    return Done(output={"pid": os.getpid()})


def _die(attempt: Attempt) -> Done:
    os.kill(os.getpid(), signal.SIGKILL)
    return Done()


_ANSWERS: dict[str, Callable[[Attempt], Any]] = {
    "answer": lambda attempt: Done(
        output={"got": attempt.parameters["value"], "key": attempt.effect_key, "board": attempt.blackboard},
        port="other",
        blackboard={"k": [1, None]},
        raised=("FIRST", "SECOND"),
        ui_schema={"components": []},
        needs_input=True,
    ),
    "leak": _leak,
    "fail": lambda attempt: _fail(attempt, retryable=False),
    "fail_for_now": lambda attempt: _fail(attempt, retryable=True),
    "refuse": _refuse,
    "raise": lambda attempt: _raise(ValueError("b" * 1000)),
    "raise_key": lambda attempt: _raise(KeyError("probe")),
    "raise_nonsense": lambda attempt: _raise(ValueError("\0 and \ud800")),
    "exit": lambda attempt: _raise(SystemExit(3)),
    "bad_details": lambda attempt: _raise(NodeFailed("BAD", "bad", details={"a": object()})),
    "suspend": lambda attempt: Suspend(waits_for="timer", wake_at=WAKE_AT),
    "ask": lambda attempt: Suspend(waits_for="approval", approval={"title": "Sure?"}),
    "suspend_without_zone": lambda attempt: Suspend(waits_for="timer", wake_at=datetime(2027, 1, 1)),
    "suspend_for_ever": lambda attempt: Suspend(waits_for="timer"),
    "suspend_for_nothing": lambda attempt: Suspend(waits_for="godot"),
    "give_a_set": lambda attempt: Done(output={"a": object()}),
    "give_nul": lambda attempt: Done(output="\0"),
    "give_a_time": lambda attempt: Done(output=[WAKE_AT, (1, 2)]),
    "give_much": lambda attempt: Done(output="x" * 33 * 1_048_576),
    "give_nothing": lambda attempt: None,
    "give_bad_port": lambda attempt: Done(port=7),  # type: ignore[arg-type]  # wrong on purpose
    "change": _change_everything,
    "pid": lambda attempt: Done(output=os.getpid()),
    "stall": lambda attempt: time.sleep(0.08) or Done(output="stalled"),
    "die": _die,
}
