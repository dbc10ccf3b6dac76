"""One batch: who is in it, the one call that is made for all, and what of its answer is whose."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import msgspec

from interlock.core.commands import AttemptLost, TaskErred, TaskReported, TaskSucceeded
from interlock.core.events import Failure
from interlock.ports.executor import Report, Result
from interlock.ports.node import Attempt

Key = tuple[UUID, str]
"""An execution and its task, under which an executor knows an attempt."""


@dataclass(frozen=True)
class Member:
    """An attempt that shares a call, and who hears of it."""

    attempt: Attempt
    report: Report

    @property
    def key(self) -> Key:
        return self.attempt.execution_id, self.attempt.task_id

    def hear(self, result: Result) -> None:
        self.report(self.attempt.execution_id, result)


@dataclass
class Batch:
    """The members that have come so far, and under which key they call; ``is_called`` once that call has begun.

    ``alone`` is the member that runs by itself now, after that call has failed.
    """

    key: Key
    size: int
    members: dict[Key, Member] = field(default_factory=dict)
    is_called: bool = False
    alone: Key | None = None

    @property
    def is_whole(self) -> bool:
        return len(self.members) >= self.size


def key_of(attempt: Attempt) -> Key | None:
    """The key of the batch that the attempt was placed with; None for one that was placed by itself."""
    if attempt.placement is None or not attempt.placement.batch_id:
        return None
    return UUID(attempt.placement.batch_id), "batch"


def alone(attempt: Attempt) -> Attempt:
    """The attempt as one that was placed by itself."""
    placement = attempt.placement
    if placement is None:
        return attempt
    return msgspec.structs.replace(attempt, placement=msgspec.structs.replace(placement, batch_id="", batch_size=0))


def call_for(key: Key, members: Sequence[Member]) -> Attempt:
    """The attempt that gives the arguments of all members, as a list in their order, to one call."""
    first = members[0].attempt
    arguments = [member.attempt.parameters.get("arguments") for member in members]
    return msgspec.structs.replace(
        first,
        execution_id=key[0],
        task_id=key[1],
        attempt=1,
        parameters={**first.parameters, "arguments": arguments},
        timeout=max(member.attempt.timeout for member in members),
        isolated=any(member.attempt.isolated for member in members),
        shared_by=tuple(member.attempt.effect_key for member in members),
    )


def share(members: Sequence[Member], answer: TaskSucceeded) -> list[TaskSucceeded | TaskErred]:
    """What each member gets of a call's answer: the n-th result is the n-th member's.

    An answer that is no list of as many results fails all of them with BATCH_RESULT_MISMATCH.
    """
    results = answer.output
    if not isinstance(results, list) or len(results) != len(members):
        return [_mismatch(member, results, len(members)) for member in members]
    return [
        msgspec.structs.replace(answer, task_id=member.attempt.task_id, attempt=member.attempt.attempt, output=result)
        for member, result in zip(members, results, strict=True)
    ]


def pass_on(member: Member, progress: TaskReported) -> TaskReported:
    """The progress of the one call, as the member's own."""
    return msgspec.structs.replace(progress, task_id=member.attempt.task_id, attempt=member.attempt.attempt)


def lose(member: Member, call: AttemptLost) -> AttemptLost:
    """The call was lost, and so was the member's attempt, for the same reason."""
    return msgspec.structs.replace(call, task_id=member.attempt.task_id, attempt=member.attempt.attempt)


def _mismatch(member: Member, results: Any, expected: int) -> TaskErred:
    found = f"a list of {len(results)}" if isinstance(results, list) else type(results).__name__
    message = f"The function got a list of {expected} and must return a list of {expected} results; it returned {found}"
    return TaskErred(
        task_id=member.attempt.task_id,
        attempt=member.attempt.attempt,
        error=Failure(code="BATCH_RESULT_MISMATCH", message=message),
    )
