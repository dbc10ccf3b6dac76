"""Functions that take lists, for the tests of batches. They run in children."""

from __future__ import annotations

import ctypes
import os
import time
from typing import Any

from conformance.executor_probe import hold


def double_all(arguments: Any) -> Any:
    return [{"doubled": each["n"] * 2, "of": len(arguments)} for each in arguments]


def tell_keys(arguments: Any, context: Any) -> Any:
    return [{"key": key} for key in context.effect_keys]


def one_too_few(arguments: Any) -> Any:
    return arguments[1:]


def spoiled(arguments: Any) -> Any:
    """Refuses negative numbers, and with them the whole list that has one."""
    given = arguments if isinstance(arguments, list) else [arguments]
    if any(each["n"] < 0 for each in given):
        raise ValueError("negative")
    return given if isinstance(arguments, list) else {"alone": arguments["n"]}


def crash_on(arguments: Any) -> Any:
    """Takes its process down at a negative number."""
    given = arguments if isinstance(arguments, list) else [arguments]
    if any(each["n"] < 0 for each in given):
        ctypes.string_at(0)
    return given if isinstance(arguments, list) else {"alone": arguments["n"]}


def have_to_oneself(arguments: Any) -> Any:
    """Refuses lists; alone, it fails if another call is there."""
    if isinstance(arguments, list):
        raise ValueError("one by one, please")
    with open(arguments["place"], "x", encoding="ascii"):
        time.sleep(arguments["seconds"])
    os.remove(arguments["place"])
    return {"alone": True}


def hold_all(arguments: Any, context: Any) -> Any:
    """Holds a lock until somebody opens the other end of ``go``."""
    hold(arguments[0]["lock"])
    context.report(0.5)
    with open(arguments[0]["go"], "rb") as go:
        go.read()
    return [{"held": True} for _ in arguments]
