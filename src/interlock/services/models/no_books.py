"""The books of a server that serves no models."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from interlock.core.errors import InterlockError, unavailable
from interlock.ports.models import Answer, Budget, CallRow, Claim, Place


class NoBooks:
    """Satisfies ``ports/models.Books``: there is nothing in them, and nothing can be entered."""

    async def budgets_of(self, tenant_id: str, holder: str) -> tuple[Budget, ...]:
        raise _none()

    async def set_budget(self, budget: Budget) -> Budget:
        raise _none()

    async def remove_budget(self, tenant_id: str, holder: str) -> bool:
        return False

    async def list_budgets(self, tenant_id: str) -> list[Budget]:
        return []

    async def starter_of(self, tenant_id: str, execution_id: UUID) -> str | None:
        return None

    async def recall(self, tenant_id: str, effect_key: str) -> bytes | None:
        return None

    async def claim(self, place: Place, digest: str, lease: float) -> Claim:
        raise _none()

    async def renew_claims(self, claim_ids: Sequence[UUID], lease: float) -> None:
        return None

    async def release(self, place: Place) -> None:
        return None

    async def purge(self, limit: int) -> int:
        return 0

    async def take_slice(self, budget_id: UUID, slice_id: UUID, least: int, lease: float) -> int:
        raise _none()

    async def write(self, rows: Sequence[CallRow], answers: Sequence[Answer] = ()) -> None:
        raise _none()

    async def renew(self, slice_ids: Sequence[UUID], lease: float) -> set[UUID]:
        return set()

    async def give_back(self, slice_ids: Sequence[UUID]) -> None:
        return None

    async def sweep(self) -> int:
        return 0


def _none() -> InterlockError:
    return unavailable("This server keeps no books of model calls", code="LLM_NOT_CONFIGURED")
