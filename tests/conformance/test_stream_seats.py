"""Seats of streams over the real Postgres: as many as are allowed, whatever process gives them, and none is lost."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interlock.backends.store.postgres.access import PostgresAccess
from interlock.core.errors import ErrorKind, InterlockError
from interlock.core.principal import Principal
from interlock.core.stream_seats import Elsewhere, SeatClaim, SeatHolder, grant
from interlock.kit.ids import RandomIds
from interlock.services.access.stream_seats import LEASE, SeatLimits, StreamSeats

SOON = 10.0  # a deadline, reached only when something is wrong
LIMITS = SeatLimits(per_principal=20, per_tenant=50)
Make = Callable[..., StreamSeats]


@pytest.fixture
async def process(database: Any) -> AsyncIterator[Make]:
    """Makes what counts seats in one process."""
    stores: list[PostgresAccess] = []

    async def opened(lease: timedelta = LEASE) -> StreamSeats:
        store = PostgresAccess(database.serve_url)
        await store.open()
        stores.append(store)
        return StreamSeats(store, RandomIds(), lease=lease)

    yield opened  # type: ignore[misc]
    for store in stores:
        await store.close()


def person(tenant: Any, subject: str = "ann") -> Principal:
    return Principal(subject, tenant.tenant_id, frozenset())


async def take(processes: list[StreamSeats], principals: list[Principal], times: int) -> list[Any]:
    """What so many who ask at once get: something to leave by, or a refusal. Processes and principals take turns."""
    asked = [
        processes[number % len(processes)].take(principals[number % len(principals)], LIMITS) for number in range(times)
    ]
    return await asyncio.gather(*asked, return_exceptions=True)


def seated(answers: list[Any]) -> list[Callable[[], None]]:
    refused = [answer for answer in answers if not callable(answer)]
    assert all(isinstance(error, InterlockError) and error.kind is ErrorKind.LIMITED for error in refused), refused
    return [answer for answer in answers if callable(answer)]


async def until_all_seats_are_free(seats: StreamSeats, principal: Principal) -> None:
    async with asyncio.timeout(SOON):
        while len(taken := seated(await take([seats], [principal], LIMITS.per_principal))) < LIMITS.per_principal:
            for leave in taken:
                leave()
            await asyncio.sleep(0.05)
    for leave in taken:
        leave()


async def test_two_processes_give_out_no_more_than_one_principal_may_have(process: Any, tenant: Any) -> None:
    both = [await process(), await process()]
    taken = seated(await take(both, [person(tenant)], 70))
    assert len(taken) == 20
    with pytest.raises(InterlockError, match="You have 20 open streams"):
        await both[1].take(person(tenant), LIMITS)
    assert len(seated(await take(both, [person(tenant, "ben")], 5))) == 5


async def test_all_principals_of_a_tenant_together_have_their_number(process: Any, tenant: Any) -> None:
    both = [await process(), await process()]
    people = [person(tenant, f"user {number}") for number in range(11)]
    assert len(seated(await take(both, people, 150))) == 50
    with pytest.raises(InterlockError, match="Your tenant has 50 open streams"):
        await both[0].take(person(tenant, "one more"), LIMITS)


async def test_a_seat_that_was_given_up_is_free_for_the_next(process: Any, tenant: Any) -> None:
    both = [await process(), await process()]
    taken = seated(await take(both[:1], [person(tenant)], 20))
    for _ in range(5):
        taken.pop()()
        taken += seated(await take(both[:1], [person(tenant)], 2))
        assert len(taken) == 20
    for leave in taken:
        leave()
        leave()  # once more changes nothing
    await until_all_seats_are_free(both[1], person(tenant))


async def test_streams_one_after_the_other_ask_the_database_once(process: Any, tenant: Any) -> None:
    seats, other = await process(), await process()
    (await seats.take(person(tenant), LIMITS))()
    told = 0
    hold = seats._store.hold_seats

    async def counted(*values: Any) -> Any:
        nonlocal told
        told += 1
        return await hold(*values)

    seats._store.hold_seats = counted  # type: ignore[method-assign]
    for _ in range(50):
        (await seats.take(person(tenant), LIMITS))()
    assert told == 0
    await until_all_seats_are_free(other, person(tenant))
    assert told == 1


async def test_a_process_that_stops_keeps_no_spare_seat(process: Any, tenant: Any) -> None:
    seats, other = await process(), await process()
    for leave in seated(await take([seats], [person(tenant)], 10)):
        leave()
    await seats.renew()
    assert len(seated(await take([other], [person(tenant)], 20))) == 20


async def test_what_was_spare_before_a_renewal_is_not_given_up_again(process: Any, tenant: Any) -> None:
    seats, other = await process(), await process()
    for leave in seated(await take([seats], [person(tenant)], 4)):
        leave()
    seats._free_idle()
    await seats.renew()
    taken = seated(await take([seats], [person(tenant)], 6))
    taken.pop()()
    seats._free_idle()
    await seats.renew()
    assert len(seated(await take([other], [person(tenant)], 20))) == 15


async def test_seats_of_a_killed_process_come_back_when_its_lease_is_over(process: Any, tenant: Any) -> None:
    killed, other = await process(timedelta(seconds=0.5)), await process()
    assert len(seated(await take([killed], [person(tenant)], 20))) == 20
    await until_all_seats_are_free(other, person(tenant))


async def test_who_says_again_what_it_holds_keeps_it(process: Any, tenant: Any) -> None:
    holding, other = await process(timedelta(seconds=0.5)), await process()
    loop = asyncio.get_running_loop()
    assert len(seated(await take([holding], [person(tenant)], 20))) == 20
    over = loop.time() + 1.2  # more than two leases
    while loop.time() < over:
        await holding.renew()
        assert seated(await take([other], [person(tenant)], 3)) == []
        await asyncio.sleep(0.05)


async def test_whoever_leaves_while_it_waits_keeps_no_seat(process: Any, tenant: Any) -> None:
    seats = await process()
    asking = [asyncio.create_task(seats.take(person(tenant), LIMITS)) for _ in range(20)]
    await asyncio.sleep(0)
    for task in asking[:15]:
        task.cancel()
    answers = await asyncio.gather(*asking, return_exceptions=True)
    assert [callable(answer) for answer in answers].count(True) == 5
    assert len(seated(await take([seats], [person(tenant)], 20))) == 15


async def test_without_the_database_a_stream_is_refused_and_nobody_waits_for_ever(process: Any, tenant: Any) -> None:
    seats = await process()
    await seats._store.close()
    with pytest.raises(InterlockError) as refused:
        async with asyncio.timeout(SOON):
            await seats.take(person(tenant), LIMITS)
    assert refused.value.kind is ErrorKind.UNAVAILABLE


HOLDERS = st.sampled_from([SeatHolder(tenant_id, subject) for tenant_id in "ab" for subject in "xyz"])
NUMBERS = st.integers(0, 6)


@given(
    wanted=st.dictionaries(HOLDERS, NUMBERS),
    here=st.dictionaries(HOLDERS, NUMBERS),
    there=st.dictionaries(HOLDERS, NUMBERS),
    limits=st.tuples(st.integers(1, 8), st.integers(1, 12)),
)
def test_what_is_granted_fits_and_nothing_that_fits_is_kept_back(
    wanted: dict[SeatHolder, int],
    here: dict[SeatHolder, int],
    there: dict[SeatHolder, int],
    limits: tuple[int, int],
) -> None:
    def of_tenant(held: dict[SeatHolder, int], tenant_id: str) -> int:
        return sum(number for holder, number in held.items() if holder.tenant_id == tenant_id)

    claims = [
        SeatClaim(holder, here.get(holder, 0), number, of_tenant(here, holder.tenant_id), *limits)
        for holder, number in wanted.items()
    ]
    elsewhere = {
        holder: Elsewhere(there.get(holder, 0), of_tenant(there, holder.tenant_id)) for holder in (*wanted, *there)
    }
    granted = {holder: given.seats for holder, given in grant(claims, elsewhere).items()}
    for holder, number in wanted.items():
        own = here.get(holder, 0) + there.get(holder, 0) + granted[holder]
        whole = sum(of_tenant(held, holder.tenant_id) for held in (here, there, granted))
        assert 0 <= granted[holder] <= number
        if granted[holder]:
            assert own <= limits[0]
            assert whole <= limits[1]
        if granted[holder] < number:
            assert own >= limits[0] or whole >= limits[1]
