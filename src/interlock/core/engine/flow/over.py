"""When a flow is over: which fan-ins can still be taken, and which active states nothing moves any more."""

from __future__ import annotations

from interlock.core.engine.flow.compile import CompiledFlow, FlowState, Transition
from interlock.core.execution import Execution

ERRORS = ("ERROR", "EVENT_ERROR")
NEED_USER_INPUT = "NEED_USER_INPUT"
_BAD_ANSWERS = {*ERRORS, NEED_USER_INPUT}
"""What only a node says, and only one that is not done."""


def full_join(execution: Execution, state: FlowState) -> Transition | None:
    """The first fan-in of a state all of whose sources are done."""
    joins = (join for join in state.joins if set(execution.joined.get(join.index, ())) == set(join.source))
    return next(joins, None)


def final_states(flow: CompiledFlow, execution: Execution) -> list[str] | None:
    """Where a flow in which nothing runs has come to its end; None while anything can still move it.

    These are its active terminal states, or else those whose node is done and that nothing leaves. There are none if
    all of its branches wait for fan-ins in vain.
    """
    active = [flow.states[name] for name in execution.active]
    if not all(_is_over(flow, execution, state) for state in active):
        return None
    ends = [state for state in active if state.is_terminal] or [state for state in active if not state.joins]
    return [state.name for state in ends]


def waits_in_vain(flow: CompiledFlow, execution: Execution) -> tuple[str, str]:
    """The first active state with a fan-in, and the first state that this one lacks."""
    state = next(found for found in map(flow.states.__getitem__, execution.active) if found.joins)
    join = state.joins[0]
    return state.name, next(name for name in join.source if name not in execution.joined.get(join.index, ()))


def _is_over(flow: CompiledFlow, execution: Execution, state: FlowState) -> bool:
    """Whether nothing moves an active state of a flow in which nothing runs."""
    if state.is_terminal:
        return True
    if state.timer is not None:
        return False
    if not state.joins:
        return state.node is not None and not state.out and not state.user_input
    ways = state.out.keys() - _BAD_ANSWERS if state.node is not None else state.out.keys()
    return not ways and all(
        state.name in execution.joined.get(join.index, ()) and not _can_be_full(flow, execution, join)
        for join in state.joins
    )


def _can_be_full(flow: CompiledFlow, execution: Execution, join: Transition) -> bool:
    """Whether each source is done, or active without a node: then somebody can still say that it is done."""
    done = execution.joined.get(join.index, ())
    return all(name in done or (name in execution.active and flow.states[name].node is None) for name in join.source)
