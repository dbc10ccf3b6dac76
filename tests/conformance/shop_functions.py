"""Functions of a package that is registered with the server only by its entry points. They run in children."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import time
from typing import Any

from conformance.executor_probe import hold


def double(arguments: Any) -> Any:
    return {"doubled": arguments["n"] * 2}


def hand_on(arguments: Any) -> Any:
    return {"rows": arguments["rows"]}


async def double_later(arguments: Any) -> Any:
    return double(arguments)


def who(arguments: Any, context: Any) -> Any:
    context.report(0.5, "half")
    return {"pid": os.getpid(), "key": context.effect_key, "attempt": context.attempt}


def fail(arguments: Any) -> Any:
    raise TimeoutError("the till does not answer")


def not_json(arguments: Any) -> Any:
    return {1, 2}


def leave(arguments: Any) -> Any:
    os._exit(arguments["code"])


def crash(arguments: Any) -> Any:
    return ctypes.string_at(0)


def environment(arguments: Any) -> Any:
    return sorted(os.environ)


def devices(arguments: Any) -> Any:
    return [os.getpid(), os.environ.get("CUDA_VISIBLE_DEVICES")]


def talk(arguments: Any) -> Any:
    print("something for the log")
    sys.stdout.flush()
    return "talked"


def survive(arguments: Any) -> Any:
    """What a service manager sends to all processes of a server that is to stop gracefully."""
    os.kill(os.getpid(), signal.SIGTERM)
    return "alive"


def work(arguments: Any, context: Any) -> Any:
    """Blocks, in the process itself, and says who its guard is."""
    hold(arguments["lock"])
    context.report(0.5, data=os.getppid())
    time.sleep(60)


def work_deaf(arguments: Any, context: Any) -> Any:
    """Blocks in C code that does not let go of the interpreter, as some libraries do."""
    hold(arguments["lock"])
    context.report(0.5)
    ctypes.PyDLL(None).sleep(60)


def work_below(arguments: Any, context: Any) -> Any:
    """Blocks, and has another program of its own that works too."""
    file = hold(arguments["lock"])
    helper = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"], pass_fds=(file,))
    os.close(file)
    context.report(0.5)
    helper.wait()


def leave_work_behind(arguments: Any, context: Any) -> Any:
    """Dies, and leaves a copy of itself that goes on."""
    hold(arguments["lock"])
    if os.fork() == 0:
        time.sleep(60)
        os._exit(0)
    os._exit(3)


not_a_function = 7
