"""Model providers, and the books in which calls of them are held and settled."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from datetime import datetime
from typing import Any, Literal, Protocol
from uuid import UUID

import msgspec

from interlock.core.models.requests import Kind


class Upstream(Protocol):
    """An answer of a provider that has begun. ``headers`` have lower-case names."""

    @property
    def status(self) -> int: ...

    @property
    def headers(self) -> Mapping[str, str]: ...

    async def read(self, max_bytes: int) -> bytes:
        """The whole body. Raises EXTERNAL_SERVICE_ERROR if it is cut off or longer, TIMEOUT if it stalls."""
        ...

    def pieces(self) -> AsyncIterator[bytes]:
        """The body as it arrives; the same errors."""
        ...

    def suffices(self) -> None:
        """All that is wanted is here; what comes yet is but the end of it."""
        ...


class Provider(Protocol):
    """Serves models in OpenAI's shape."""

    @property
    def name(self) -> str: ...

    def call(self, kind: Kind, body: bytes, key: str = "") -> AbstractAsyncContextManager[Upstream]:
        """Send one request and wait for the head of its answer, whatever status it has.

        ``key`` is the same for every try of one piece of work; a provider that knows such keys answers it once.
        Leaving the context ends the provider's work too. Raises InterlockError: TIMEOUT, EXTERNAL_SERVICE_ERROR
        (with the detail ``connected: false`` if nothing can have been sent), EGRESS_BLOCKED.
        """
        ...

    def batch_of(self, model: str) -> int | None:
        """How many texts one embeddings call of the model takes; None: any number, relayed as they came."""
        ...


class Budget(msgspec.Struct, frozen=True, kw_only=True):
    """What a tenant (``holder`` empty), one of its API keys or a person may spend, in nanodollars.

    What a holder with a budget spends is spent of the tenant's budget too. ``leased`` is what processes hold and
    have not spent.
    """

    budget_id: UUID
    tenant_id: str
    holder: str
    cap: int
    spent: int = 0
    leased: int = 0


class ModelCalls(Protocol):
    """Calls of models by the tasks of executions, paid by whoever started these."""

    async def call(
        self, tenant_id: str, execution_id: UUID, effect_key: str, trace_id: str, kind: Kind, body: dict[str, Any]
    ) -> dict[str, Any]:
        """The answer in OpenAI's shape. What was answered under an effect key is answered again, and not paid again.

        Raises InterlockError as a caller of the gateway gets it.
        """
        ...


CallStatus = Literal["held", "settled", "crashed"]


class CallRow(msgspec.Struct, frozen=True, kw_only=True):
    """One row of the ledger: a call that was begun (``held``) or is over (``settled``). Money is nanodollars.

    ``budget_id`` is the holder's own or else the tenant's; it and ``slice_id`` are None for a call that no budget
    limits.
    """

    call_id: UUID
    tenant_id: str
    subject: str
    budget_id: UUID | None
    slice_id: UUID | None
    provider: str
    model: str
    kind: Kind
    status: CallStatus
    estimate: int
    cost: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    is_estimated: bool = False
    trace_id: str = ""
    at: datetime


class Place(msgspec.Struct, frozen=True, kw_only=True):
    """Where an answer is kept, for ``seconds``. ``claim_id`` is who may put it there; None: whoever is first."""

    tenant_id: str
    effect_key: str
    claim_id: UUID | None = None
    seconds: float


class Answer(msgspec.Struct, frozen=True):
    """What is to be kept in a place."""

    place: Place
    body: bytes


class Claim(msgspec.Struct, frozen=True):
    """A place when somebody asked for it: what was asked for first (``digest``), and what was answered, if it was."""

    digest: str
    answer: bytes | None
    is_ours: bool


class Books(Protocol):
    """The ledger of model calls and the budgets beside it. Its methods raise UNAVAILABLE when it is away."""

    async def budgets_of(self, tenant_id: str, holder: str) -> tuple[Budget, ...]:
        """What limits a holder: its own budget, if it has one, then that of its tenant, if there is one."""
        ...

    async def set_budget(self, budget: Budget) -> Budget:
        """Set the cap of a tenant's or key's budget; what was spent stays. Returns it as it is now."""
        ...

    async def remove_budget(self, tenant_id: str, holder: str) -> bool:
        """Whether there was such a budget; it limits nobody from now on, and one set later begins at nothing."""
        ...

    async def list_budgets(self, tenant_id: str) -> list[Budget]: ...

    async def starter_of(self, tenant_id: str, execution_id: UUID) -> str | None:
        """The subject who started an execution of the tenant; None for one that is not there."""
        ...

    async def recall(self, tenant_id: str, effect_key: str) -> bytes | None:
        """The answer that is kept under an effect key."""
        ...

    async def claim(self, place: Place, digest: str, lease: float) -> Claim:
        """Take a place for ``lease`` seconds, if it is empty or the lease of who took it is over."""
        ...

    async def renew_claims(self, claim_ids: Sequence[UUID], lease: float) -> None:
        """Make claims last whose answers are still being made."""
        ...

    async def release(self, place: Place) -> None:
        """Empty a place again that was claimed and has no answer."""
        ...

    async def purge(self, limit: int) -> int:
        """Forget answers that were kept long enough, at most ``limit`` of them; returns how many."""
        ...

    async def take_slice(self, budget_id: UUID, slice_id: UUID, least: int, lease: float) -> int:
        """Lease a part of the budget, and of its tenant's, for ``lease`` seconds: as much of one as of the other.

        Returns at least ``least``, or 0 if one of them has not so much left.
        """
        ...

    async def write(self, rows: Sequence[CallRow], answers: Sequence[Answer] = ()) -> None:
        """Write what is new, all of it in one commit.

        A call is settled once, in its budget and in its tenant's, and a place filled once, by whoever does it first.
        Each call is in ``rows`` once, each place in ``answers``.
        """
        ...

    async def renew(self, slice_ids: Sequence[UUID], lease: float) -> set[UUID]:
        """Make the leases last; returns those that still did."""
        ...

    async def give_back(self, slice_ids: Sequence[UUID]) -> None:
        """Return what is left of slices; their calls that are still held settle at their estimate."""
        ...

    async def sweep(self) -> int:
        """End the slices whose lease ran out as ``give_back`` does; returns how many."""
        ...
