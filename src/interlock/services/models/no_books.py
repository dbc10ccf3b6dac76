"""The books of a server that serves no models."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from interlock.core.errors import InterlockError, unavailable
from interlock.ports.models import Budget, CallRow


class NoBooks:
    """Satisfies ``ports/models.Books``: there is nothing in them, and nothing can be entered."""

    async def budget_of(self, tenant_id: str, holder: str) -> Budget | None:
        raise _none()

    async def set_budget(self, budget: Budget) -> Budget:
        raise _none()

    async def list_budgets(self, tenant_id: str) -> list[Budget]:
        return []

    async def recall(self, tenant_id: str, effect_key: str) -> bytes | None:
        return None

    async def remember(self, tenant_id: str, effect_key: str, answer: bytes) -> None:
        raise _none()

    async def take_slice(self, budget_id: UUID, slice_id: UUID, least: int, lease: float) -> int:
        raise _none()

    async def write(self, rows: Sequence[CallRow]) -> None:
        raise _none()

    async def renew(self, slice_ids: Sequence[UUID], lease: float) -> set[UUID]:
        return set()

    async def give_back(self, slice_ids: Sequence[UUID]) -> None:
        return None

    async def sweep(self) -> int:
        return 0


def _none() -> InterlockError:
    return unavailable("This server keeps no books of model calls", code="LLM_NOT_CONFIGURED")
