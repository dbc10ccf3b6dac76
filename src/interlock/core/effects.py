"""The effect key: what makes a repeated attempt one effect outside."""

from __future__ import annotations

import hashlib
from uuid import UUID


def effect_key(execution_id: UUID, task_id: str) -> str:
    """The same for every attempt of a task: what makes a repeated attempt one effect outside."""
    return hashlib.blake2b(f"{execution_id}/{task_id}".encode(), digest_size=16).hexdigest()
