"""What every tenant finds in its registry without registering it, and the flow around a single node."""

from __future__ import annotations

from typing import Any

from interlock.core.callback import TARGET
from interlock.core.workflow import FlowDefinition, RetryPolicy, TransitionDefinition

_RETRY = RetryPolicy(max_attempts=3)

SYSTEM_FLOWS: dict[str, str] = {
    "echo_test_flow": """\
name: echo_test_flow
description: Shows what it is given and waits until it is confirmed.
states: [start, echoed, end]
initial_state: start
state_node_map: {start: "builtin://echo"}
user_input_states: [echoed]
transitions:
  - {from: start, event: STEP_DONE, to: echoed}
  - {from: echoed, event: USER_CONFIRM, to: end}
"""
}
"""The definitions by flow id, as their author wrote them."""


def flow_around(node_type: str, target: dict[str, Any] | None = None) -> FlowDefinition:
    """One node as a flow: ``execute`` leads to ``done`` or ``error``. ``target`` is whom a webhook node calls."""
    return FlowDefinition(
        states=("execute", "done", "error"),
        initial_state="execute",
        nodes={"execute": node_type},
        parameters={} if target is None else {"execute": {TARGET: target}},
        terminal_states=("done", "error"),
        retry={"execute": _RETRY},
        transitions=(
            TransitionDefinition(source=("execute",), event="STEP_DONE", target=("done",)),
            TransitionDefinition(source=("execute",), event="ERROR", target=("error",)),
        ),
    )
