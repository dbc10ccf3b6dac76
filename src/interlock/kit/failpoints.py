"""Named places where a test can make the process die, fail or sleep. Without a plan they cost one comparison."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Mapping

Plan = Mapping[str, tuple[str, int]]
"""Of each place what it does, and at which hit only; 0 for every hit."""

_PART = re.compile(r"(?P<name>[a-z_.]+)=(?P<action>exit|raise|sleep:\d+(?:\.\d+)?)(?:@(?P<only>[1-9]\d*))?")
_plan: dict[str, tuple[str, int]] = {}
_hits: dict[str, int] = {}
KNOWN: set[str] = set()


class FailpointError(RuntimeError):
    """Raised by a failpoint of action ``raise``."""


def declare(*names: str) -> None:
    """Say which failpoints a module has, so that a test can go through all of them."""
    KNOWN.update(names)


def read(plan: str) -> Plan:
    """The plan ``name=action[@n]``, separated by commas; action is exit, raise or sleep:SECONDS; n-th hit only.

    Raises ValueError with a sentence about the part that cannot be read.
    """
    found: dict[str, tuple[str, int]] = {}
    for part in filter(None, map(str.strip, plan.split(","))):
        match = _PART.fullmatch(part)
        if match is None:
            raise ValueError(f"{part!r} is no failpoint; write name=exit, name=raise or name=sleep:SECONDS, and @n")
        found[match["name"]] = (match["action"], int(match["only"] or 0))
    return found


def arm(plan: str) -> None:
    """Set the plan. Raises ValueError for what cannot be read and for a place that no loaded module has."""
    found = read(plan)
    unknown = sorted(found.keys() - KNOWN)
    if unknown:
        raise ValueError(f"There is no failpoint {unknown[0]!r}; there are {', '.join(sorted(KNOWN))}")
    _plan.clear()
    _hits.clear()
    _plan.update(found)


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
