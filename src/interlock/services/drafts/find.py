"""The one way to a draft."""

from __future__ import annotations

from uuid import UUID

from interlock.core.code import MAX_CODE
from interlock.core.draft import Draft
from interlock.core.errors import ErrorKind, InterlockError, not_found
from interlock.ports.store import Transaction

_SHOWN = 128


def read_draft_id(text: str) -> UUID:
    """Raises NOT_FOUND for what cannot be the id of a draft."""
    try:
        return UUID(text)
    except ValueError:
        raise unknown_draft(text) from None


async def changing(transaction: Transaction, text: str) -> Draft:
    """The draft, which this transaction alone may change. Raises NOT_FOUND for an unknown and for a foreign one."""
    draft = await transaction.change_draft(read_draft_id(text))
    if draft is None:
        raise unknown_draft(text)
    return draft


async def reading(transaction: Transaction, text: str) -> Draft:
    """The draft as it is now. Raises NOT_FOUND as ``changing`` does."""
    draft = await transaction.draft(read_draft_id(text))
    if draft is None:
        raise unknown_draft(text)
    return draft


async def using(transaction: Transaction, text: str) -> Draft:
    """The draft, which stays as it is until this transaction ends. Raises NOT_FOUND as ``changing`` does."""
    draft = await transaction.use_draft(read_draft_id(text))
    if draft is None:
        raise unknown_draft(text)
    return draft


async def require_tasks(transaction: Transaction, draft: Draft, *task_ids: str) -> None:
    """Raise NOT_FOUND for the first of these tasks that is not there."""
    found = await transaction.among_draft_tasks(draft.draft_id, task_ids)
    for task_id in task_ids:
        if task_id not in found:
            raise unknown_task(task_id, draft.draft_id)


def unknown_draft(text: str) -> InterlockError:
    return not_found("NOT_FOUND", f"Workflow {text[:_SHOWN]} not found")


def unknown_task(task_id: str, draft_id: UUID) -> InterlockError:
    return not_found("NOT_FOUND", f"Task {task_id[:_SHOWN]} not found in workflow {draft_id}")


def require_size(content: bytes, what: str = "Code") -> None:
    """Raise TOO_LARGE for more than one piece of code, or the pickle of arguments, may have."""
    if len(content) > MAX_CODE:
        raise InterlockError(ErrorKind.TOO_LARGE, "PAYLOAD_TOO_LARGE", f"{what} exceeds {MAX_CODE >> 20} MiB")
