"""Which code of users a definition calls."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from interlock.core.code import CODE_TYPE, WHAT_RUNS
from interlock.core.workflow import Definition, GraphDefinition


def users_code(definition: Definition) -> frozenset[str]:
    """What its nodes call, each with all that decides which code runs; empty if it calls none.

    A placeholder counts as its text: who may write one chooses what it stands for.
    """
    return frozenset(map(_named, _parameters(definition)))


def _parameters(definition: Definition) -> Iterator[dict[str, Any]]:
    if isinstance(definition, GraphDefinition):
        yield from (node.parameters for node in definition.nodes if node.type == CODE_TYPE)
    else:
        states = (state for state, node_type in definition.nodes.items() if node_type == CODE_TYPE)
        yield from (definition.parameters.get(state, {}) for state in states)


def _named(parameters: dict[str, Any]) -> str:
    return msgspec.json.encode([parameters.get(name) for name in WHAT_RUNS]).decode()
