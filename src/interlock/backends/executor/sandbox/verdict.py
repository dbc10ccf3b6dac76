"""What a sandbox reports, taken as the word of a stranger: it counts only as far as users' code may say something."""

from __future__ import annotations

from collections.abc import Set as AbstractSet

import msgspec

from interlock.backends.executor.results import MAX_KEYS, MAX_RESULT, fail, report_progress, settle_quickly
from interlock.core.commands import AttemptLost, TaskErred, TaskReported, TaskSucceeded
from interlock.core.parcel import JSON, Packed, find
from interlock.kit import strict_json
from interlock.ports.executor import Result
from interlock.ports.node import Attempt, Done, NodeFailed


def judge(attempt: Attempt, result: Result, stored: AbstractSet[tuple[str, str]]) -> Result:
    """The report with nothing in it but plain JSON within the limits, and files that were stored for this attempt.

    ``stored`` are name and digest of these. A sandbox cannot let its task rest, choose its port or write elsewhere.
    """
    if isinstance(result, AttemptLost):
        return result
    try:
        if isinstance(result, TaskReported):
            return report_progress(attempt, result.progress, result.message, result.data)
        if isinstance(result, TaskErred):
            error = result.error
            told = NodeFailed(error.code, error.message, retryable=error.retryable, details=error.details)
            return fail(attempt, told)
        if not isinstance(result, TaskSucceeded):
            raise NodeFailed("NODE_ERROR", "Code that runs in the sandbox cannot let its task wait.")
        _check_packed(attempt, result)
        kept = settle_quickly(Done(output=result.output))
        files = tuple(each for each in result.artifacts if (each.name, each.sha256) in stored)
        return TaskSucceeded(
            task_id=attempt.task_id,
            attempt=attempt.attempt,
            output=kept.output if isinstance(kept, Done) else None,
            artifacts=files,
            duration_ms=max(0, result.duration_ms),
        )
    except (NodeFailed, msgspec.MsgspecError, ValueError) as error:
        return fail(attempt, error)


def _check_packed(attempt: Attempt, result: TaskSucceeded) -> None:
    """Raise NodeFailed RESULT_NOT_JSON for packed values that are not what they say, or that nobody has asked for."""
    for place, packed in find(result.output, Packed):
        if not attempt.packs or packed.content_type != JSON:
            raise NodeFailed("RESULT_NOT_JSON", f"The value of {str(place[-1])!r} is not JSON")
        try:
            strict_json.check(packed.content, max_bytes=MAX_RESULT, max_keys=MAX_KEYS)
        except strict_json.StrictJsonError as error:
            raise NodeFailed("RESULT_NOT_JSON", f"The value of {str(place[-1])!r} is not JSON: {error}") from error
