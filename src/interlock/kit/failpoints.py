"""Named places where a test can make the process die, fail or sleep. Without a plan they cost one comparison."""

from __future__ import annotations

import os
import time

_plan: dict[str, tuple[str, int]] = {}
_hits: dict[str, int] = {}
KNOWN: set[str] = set()


class FailpointError(RuntimeError):
    """Raised by a failpoint of action ``raise``."""


def declare(*names: str) -> None:
    """Say which failpoints a module has, so that a test can go through all of them."""
    KNOWN.update(names)


def arm(plan: str) -> None:
    """Set the plan: ``name=action[@n]`` separated by commas; action is exit, raise or sleep:SECONDS; n-th hit only."""
    _plan.clear()
    _hits.clear()
    for part in filter(None, plan.split(",")):
        name, _, action = part.strip().partition("=")
        action, _, hit = action.partition("@")
        _plan[name] = (action, int(hit or 0))


def hit(name: str) -> None:
    """Do what the plan says for this place, usually nothing."""
    if _plan and name in _plan:
        _act(name, *_plan[name])


def _act(name: str, action: str, only: int) -> None:
    _hits[name] = _hits.get(name, 0) + 1
    if only and _hits[name] != only:
        return
    os.write(2, f"failpoint {name}={action}\n".encode())  # proof for the test, even if the next line is the last
    if action == "exit":
        os._exit(86)
    if action == "raise":
        raise FailpointError(name)
    if action.startswith("sleep:"):
        time.sleep(float(action.removeprefix("sleep:")))
