"""How many streams may be open at the same time: of one principal, and of all principals of a tenant."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import NamedTuple


class SeatHolder(NamedTuple):
    """Whose streams count together."""

    tenant_id: str
    subject: str


class SeatClaim(NamedTuple):
    """What one process has open of one holder, and how many more it wants.

    ``of_tenant`` is what it has open of the whole tenant, ``held`` included.
    """

    holder: SeatHolder
    held: int
    wanted: int
    of_tenant: int
    per_principal: int
    per_tenant: int


class Elsewhere(NamedTuple):
    """What all other processes have open of a holder, and of its tenant."""

    of_subject: int
    of_tenant: int


class Granted(NamedTuple):
    """How many seats a holder gets, and whether its tenant has no more than that."""

    seats: int
    is_tenant_full: bool


NONE_WANTED = Granted(0, False)


def grant(claims: Sequence[SeatClaim], elsewhere: Mapping[SeatHolder, Elsewhere]) -> dict[SeatHolder, Granted]:
    """What each holder gets of the seats it wants; what is missing in ``elsewhere`` is nothing.

    Claims of one process, one for each holder. None passes its principal's limit, nor all together their tenant's.
    """
    given: Counter[str] = Counter()
    granted = {}
    for claim in claims:
        others = elsewhere.get(claim.holder, Elsewhere(0, 0))
        of_principal = claim.per_principal - claim.held - others.of_subject
        of_tenant = claim.per_tenant - claim.of_tenant - others.of_tenant - given[claim.holder.tenant_id]
        seats = max(0, min(claim.wanted, of_principal, of_tenant))
        granted[claim.holder] = Granted(seats, of_tenant <= min(seats, of_principal))
        given[claim.holder.tenant_id] += seats
    return granted
