"""What a caller wants stored as a workflow."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import msgspec

from interlock.core.workflow import Problem

Echoes = frozenset[tuple[str, str]]
"""Codes of problems, each with the place of the native form at or inside which it only repeats a door's problem."""


class Draft(msgspec.Struct, frozen=True, kw_only=True):
    """``native`` is the definition in the house's form, ``source`` what the door answers it with again.

    ``found`` and ``warnings`` are problems of the translation from one to the other, ``echoes`` what the checks would
    say of the found ones once more.
    """

    name: str
    native: Any
    source: dict[str, Any]
    description: str = ""
    tags: tuple[str, ...] = ()
    icon_url: str | None = None
    visibility: Literal["private", "tenant"] = "private"
    found: Sequence[Problem] = ()
    warnings: Sequence[Problem] = ()
    echoes: Echoes = frozenset()
