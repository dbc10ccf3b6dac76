"""What access keeps, over the real Postgres: once means once over all processes, and the audit log stays as it is."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import asyncpg
import pytest

from interlock.backends.secrets.aes_gcm import AesGcmSecrets
from interlock.backends.secrets.given_keys import GivenKeys
from interlock.backends.store.postgres.access import PostgresAccess
from interlock.core.api_key import KeyFilter, write_key
from interlock.core.audit import AuditEntry, AuditFilter, Outcome
from interlock.core.errors import InterlockError
from interlock.core.principal import Principal, Scope
from interlock.kit.clock import ManualClock, SystemClock
from interlock.kit.ids import RandomIds
from interlock.ports.access import Ticket
from interlock.ports.engine import Key
from interlock.services.access import keys as managing
from interlock.services.access.answers import KeptAnswer, KeptAnswers
from interlock.services.access.audit import STRANGERS_A_SECOND, AuditLog
from interlock.services.access.authenticate import KeyIdentity
from interlock.services.access.keys import KeyWishes, ManageKeys

PEPPER = b"the pepper of these tests, long enough"


@pytest.fixture
async def access(database: Any) -> AsyncIterator[PostgresAccess]:
    opened = PostgresAccess(database.serve_url)
    await opened.open()
    yield opened
    await opened.close()


def admin_of(tenant: Any) -> Principal:
    return Principal("ann", tenant.tenant_id, frozenset(Scope))


def filter_of(tenant: Any, **wanted: Any) -> AuditFilter:
    return AuditFilter(tenant_id=tenant.tenant_id, **wanted)


def ticket(tenant: Any) -> Ticket:
    return Ticket(tenant.principal, "/api/app/executions/1/stream", SystemClock().now() + timedelta(minutes=1))


def entry(tenant_id: str, **changes: Any) -> AuditEntry:
    plain = {
        "audit_id": RandomIds().new(),
        "tenant_id": tenant_id,
        "at": SystemClock().now(),
        "subject": "ann",
        "kind": "user",
        "action": "POST /x",
        "outcome": Outcome.DONE,
        "status": 200,
        "door": "app",
    }
    return AuditEntry(**{**plain, **changes})


async def test_a_ticket_is_taken_once_by_fifty_who_want_it(access: PostgresAccess, tenant: Any) -> None:
    digest = RandomIds().new().bytes
    await access.add_ticket(digest, ticket(tenant), 9)
    taken = await asyncio.gather(*(access.take_ticket(digest) for _ in range(50)))
    assert [one.principal for one in taken if one is not None] == [tenant.principal]


async def test_a_tenant_keeps_so_many_tickets_and_no_more(access: PostgresAccess, tenant: Any, new_tenant: Any) -> None:
    async def kept(whose: Any, times: int) -> int:
        return [await access.add_ticket(RandomIds().new().bytes, ticket(whose), 3) for _ in range(times)].count(True)

    assert await kept(tenant, 5) == 3
    assert await kept(new_tenant(), 1) == 1


async def test_keys_that_ended_long_ago_are_forgotten(access: PostgresAccess, tenant: Any, store: Any) -> None:
    def clock(days: int) -> ManualClock:
        return ManualClock(SystemClock().now() - timedelta(days=days))

    issued = []
    for days in (31, 29):
        keys = ManageKeys(store, clock(days), RandomIds(), PEPPER, "local")
        made = await keys.create(admin_of(tenant), KeyWishes(client_name="x", scopes=("tools:read",)))
        await keys.revoke(admin_of(tenant), made.key.public_id)
        issued.append(made.key.public_id)
    good = await ManageKeys(store, clock(31), RandomIds(), PEPPER, "local").create(
        admin_of(tenant), KeyWishes(client_name="x", scopes=("tools:read",))
    )
    await access.purge()
    found = [await access.find_key(public_id) for public_id in (*issued, good.key.public_id)]
    assert [key is not None for key in found] == [False, True, True]


async def test_a_tenant_has_so_many_keys_and_no_more(tenant: Any, store: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr(managing, "MAX_KEYS", 3)
    monkeypatch.setattr(managing, "MAX_KEPT_KEYS", 5)
    keys, wishes = ManageKeys(store, SystemClock(), RandomIds(), PEPPER, "local"), KeyWishes(client_name="x", scopes=())
    made = [await keys.create(admin_of(tenant), wishes) for _ in range(3)]
    with pytest.raises(InterlockError, match="at most 3 API keys; revoke one first"):
        await keys.create(admin_of(tenant), wishes)
    await keys.rotate(admin_of(tenant), made[0].key.public_id)  # what is worked with can always be renewed
    for one in made[:2]:
        await keys.revoke(admin_of(tenant), one.key.public_id)
    await keys.create(admin_of(tenant), wishes)
    with pytest.raises(InterlockError, match="keeps at most 5 API keys"):
        await keys.rotate(admin_of(tenant), made[2].key.public_id)


async def test_a_nonce_counts_once_for_each_key(access: PostgresAccess, tenant: Any) -> None:
    until, nonce = SystemClock().now() + timedelta(minutes=10), RandomIds().new().hex
    for _ in range(2):
        key_id = RandomIds().new()
        used = await asyncio.gather(*(access.use_nonce(key_id, tenant.tenant_id, nonce, until) for _ in range(20)))
        assert used.count(True) == 1


async def test_what_is_over_is_cleared_away_and_nothing_else(access: PostgresAccess, tenant: Any) -> None:
    now, key_id = SystemClock().now(), RandomIds().new()
    await access.use_nonce(key_id, tenant.tenant_id, "old", now - timedelta(seconds=1))
    await access.use_nonce(key_id, tenant.tenant_id, "new", now + timedelta(minutes=10))
    live, old = RandomIds().new().bytes, RandomIds().new().bytes
    await access.add_ticket(live, ticket(tenant), 9)
    await access.add_ticket(old, Ticket(tenant.principal, "/x", now - timedelta(minutes=5)), 9)
    await access.purge()
    assert await access.use_nonce(key_id, tenant.tenant_id, "old", now + timedelta(minutes=10))
    assert not await access.use_nonce(key_id, tenant.tenant_id, "new", now + timedelta(minutes=10))
    assert await access.take_ticket(old) is None
    assert await access.take_ticket(live) is not None


async def test_while_the_secret_is_changed_neighbours_know_each_others_requests(
    access: PostgresAccess, tenant: Any
) -> None:
    old, new = b"the secret of before, long enough", b"the secret of from now on, long enough"
    secrets = AesGcmSecrets(GivenKeys(["a key for tests, of 32 bytes or more"]))
    before, between, after = [KeptAnswers(access, secrets, peppers) for peppers in ((old,), (new, old), (new,))]
    pairs = ((before, between), (between, before), (between, after), (after, between))
    for number, (first, second) in enumerate(pairs):
        key, other = [Key("ann POST /x", f"k-{number}", digest) for digest in ("what was asked", "something else")]
        assert await first.begin(tenant.principal, key, is_repeatable=False) is None
        await first.keep(tenant.principal, key, KeptAnswer(201, b"made"))
        assert await second.begin(tenant.principal, key, is_repeatable=False) == KeptAnswer(201, b"made")
        with pytest.raises(InterlockError, match="another body"):
            await second.begin(tenant.principal, other, is_repeatable=False)


async def test_no_more_tenants_are_made_than_allowed_however_many_ask_at_once(own_database: Any) -> None:
    access = PostgresAccess(own_database.serve_url)
    await access.open()
    made = await asyncio.gather(*(access.ensure_tenant(f"t{number % 12}", 5) for number in range(48)))
    again = [await access.ensure_tenant(f"t{number}", 5) for number in range(12)]
    await access.close()
    assert again.count(True) == 5
    assert [made[number] for number in range(12)] == again, "whoever was let in stays, the others stay out"


async def test_every_process_refuses_a_revoked_key_within_five_seconds(
    access: PostgresAccess, store: Any, tenant: Any
) -> None:
    """G8."""
    clock = SystemClock()
    keys = ManageKeys(store, clock, RandomIds(), PEPPER, "test")
    issued = await keys.create(admin_of(tenant), KeyWishes(client_name="c", scopes=("tools:read",)))
    processes = [KeyIdentity(access, clock, [PEPPER]) for _ in range(2)]
    for process in processes:
        assert (await process.authenticate(issued.text)).key_id == issued.key.key_id
    await keys.revoke(admin_of(tenant), issued.key.public_id)
    revoked = clock.monotonic()
    for process in processes:
        while await is_taken(process, issued.text):
            assert clock.monotonic() - revoked < 5
            await asyncio.sleep(0.05)


async def test_keys_that_share_all_but_their_end_are_not_taken_for_each_other(
    access: PostgresAccess, store: Any, tenant: Any
) -> None:
    """G8."""
    keys = ManageKeys(store, SystemClock(), RandomIds(), PEPPER, "test")
    issued = await keys.create(admin_of(tenant), KeyWishes(client_name="c", scopes=("tools:read",)))
    identity = KeyIdentity(access, SystemClock(), [PEPPER])
    await identity.authenticate(issued.text)
    before_checksum = issued.text[:-6]
    for forged in (
        before_checksum[:-1] + "0",
        before_checksum[:20],
        before_checksum + "' or '1'='1",
        "il_" + "x" * 9999,
    ):
        for text in (forged, with_checksum(forged)):
            if text != issued.text:
                with pytest.raises(InterlockError) as refused:
                    await identity.authenticate(text)
                assert refused.value.details["reason"] == "invalid_api_key"


def with_checksum(body: str) -> str:
    """The text with the checksum that belongs to it, as somebody who knows the form would write it."""
    environment, public_id, secret = [*body.split("_", 3), "", "", ""][1:4]
    return write_key(environment, public_id, secret)


async def is_taken(identity: KeyIdentity, text: str) -> bool:
    try:
        await identity.authenticate(text)
    except InterlockError as error:
        return error.details["reason"] != "client_disabled"
    return True


async def test_when_a_key_was_used_last_is_written_later_and_never_goes_back(
    access: PostgresAccess, store: Any, tenant: Any
) -> None:
    keys = ManageKeys(store, SystemClock(), RandomIds(), PEPPER, "test")
    issued = await keys.create(admin_of(tenant), KeyWishes(client_name="c", scopes=("tools:read",)))
    identity = KeyIdentity(access, SystemClock(), [PEPPER])
    await identity.authenticate(issued.text)
    assert await last_used(keys, tenant) is None
    await identity.flush()
    noted = await last_used(keys, tenant)
    assert noted is not None
    await access.touch_keys({issued.key.key_id: noted - timedelta(hours=1)})
    assert await last_used(keys, tenant) == noted


async def last_used(keys: ManageKeys, tenant: Any) -> datetime | None:
    return (await keys.list(admin_of(tenant), KeyFilter())).items[0].last_used_at


async def test_a_stored_key_holds_no_part_of_its_secret(
    access: PostgresAccess, store: Any, tenant: Any, database: Any
) -> None:
    """G8."""
    keys = ManageKeys(store, SystemClock(), RandomIds(), PEPPER, "test")
    issued = await keys.create(admin_of(tenant), KeyWishes(client_name="c", scopes=("tools:read",), signing=True))
    connection = await asyncpg.connect(database.superuser_url)
    whole_row = "select row_to_json(k)::text from interlock.api_keys k where key_id = $1"
    row = await connection.fetchval(whole_row, issued.key.key_id)
    await connection.close()
    secret = issued.text.rsplit("_", 1)[1]
    assert not [secret[start : start + 8] for start in range(len(secret) - 7) if secret[start : start + 8] in row]
    assert issued.signing_secret is not None
    assert issued.signing_secret not in row


async def test_the_audit_log_is_read_newest_first_by_pages_and_filters(
    access: PostgresAccess, store: Any, tenant: Any, new_tenant: Any
) -> None:
    log = AuditLog(access, store, SystemClock())
    outcomes = (Outcome.DONE, Outcome.REFUSED, Outcome.FAILED)
    entries = [entry(tenant.tenant_id, outcome=outcomes[n % 3], subject=f"s{n % 2}") for n in range(9)]
    for one in [*entries, entry(new_tenant().tenant_id)]:
        log.note(one)
    principal = admin_of(tenant)
    page = await log.list(principal, filter_of(tenant, limit=4))
    assert ([one.audit_id for one in page.items], page.total) == (ids(entries)[:4], 9)
    rest = await log.list(principal, filter_of(tenant, limit=9, before=page.items[-1].audit_id))
    assert [one.audit_id for one in rest.items] == ids(entries)[4:]
    refused = await log.list(principal, filter_of(tenant, outcome="refused", subject="s1"))
    assert {(one.outcome, one.subject) for one in refused.items} == {("refused", "s1")}


def ids(entries: list[AuditEntry]) -> list[UUID]:
    """In the order of the list: the newest first."""
    return [one.audit_id for one in reversed(entries)]


async def test_a_flood_of_callers_without_a_tenant_is_kept_in_part(
    access: PostgresAccess, store: Any, tenant: Any, database: Any
) -> None:
    clock, mark = ManualClock(SystemClock().now()), RandomIds().new().hex
    log = AuditLog(access, store, clock)
    for seconds in range(2):
        clock.advance(timedelta(seconds=seconds))
        for _ in range(STRANGERS_A_SECOND * 3):
            log.note(entry("", trace_id=mark))
    log.note(entry(tenant.tenant_id, trace_id=mark))
    await log.flush()
    connection = await asyncpg.connect(database.superuser_url)
    kept = await connection.fetchval("select count(*) from interlock.audit where trace_id = $1", mark)
    await connection.close()
    assert kept == 2 * STRANGERS_A_SECOND + 1


class CountingAccess(PostgresAccess):
    """Counts the statements that write the audit log."""

    written = 0

    async def write_audit(self, entries: Any) -> None:
        self.written += 1
        await super().write_audit(entries)


async def test_what_is_recorded_is_stored_when_it_returns_and_many_share_a_statement(
    database: Any, store: Any, tenant: Any
) -> None:
    access = CountingAccess(database.serve_url)
    await access.open()
    log, connection = AuditLog(access, store, SystemClock()), await asyncpg.connect(database.superuser_url)

    async def recorded() -> bool:
        one = entry(tenant.tenant_id)
        await log.record(one)
        return bool(await connection.fetchval("select true from interlock.audit where audit_id = $1", one.audit_id))

    assert await recorded()
    await asyncio.gather(*(log.record(entry(tenant.tenant_id)) for _ in range(200)))
    assert access.written <= 4
    count = await connection.fetchval("select count(*) from interlock.audit where tenant_id = $1", tenant.tenant_id)
    await connection.close()
    await access.close()
    assert count == 201


async def test_a_database_that_takes_no_entry_keeps_nobody_waiting_and_loses_none(
    access: PostgresAccess, store: Any, tenant: Any, database: Any
) -> None:
    log, lock = AuditLog(access, store, SystemClock()), await asyncpg.connect(database.superuser_url)
    async with lock.transaction():
        await lock.execute("lock table interlock.audit in exclusive mode")
        async with asyncio.timeout(20):
            await log.record(entry(tenant.tenant_id))
    await lock.close()
    assert (await log.list(admin_of(tenant), filter_of(tenant))).total == 1


async def test_only_entries_that_are_too_old_are_cleared_away_a_few_at_a_time(
    access: PostgresAccess, store: Any, tenant: Any, database: Any
) -> None:
    now = SystemClock().now()
    old = [entry(tenant.tenant_id, at=now - timedelta(days=401 + number)) for number in range(7)]
    young = [entry(tenant.tenant_id, at=now - timedelta(days=399)), entry(tenant.tenant_id)]
    await access.write_audit([*old, *young])
    assert await access.purge_audit(400, 3) == 3
    log = AuditLog(access, store, SystemClock(), days=400)
    await log.purge()
    assert {one.audit_id for one in (await log.list(admin_of(tenant), filter_of(tenant))).items} == set(ids(young))
    with pytest.raises(InterlockError, match="does not let"):
        await access.purge_audit(0, 10)


async def test_an_entry_that_is_written_twice_is_there_once(access: PostgresAccess, store: Any, tenant: Any) -> None:
    one = entry(tenant.tenant_id)
    await access.write_audit([one])
    await access.write_audit([one, entry(tenant.tenant_id)])
    assert (await AuditLog(access, store, SystemClock()).list(admin_of(tenant), filter_of(tenant))).total == 2


@pytest.mark.parametrize(
    "statement",
    ["update interlock.audit set code = 'x'", "delete from interlock.audit", "truncate interlock.audit"],
)
async def test_nobody_changes_the_audit_log_not_even_its_owner(
    access: PostgresAccess, tenant: Any, database: Any, statement: str
) -> None:
    await access.write_audit([entry(tenant.tenant_id)])
    for url in (database.migrate_url, database.superuser_url):
        connection = await asyncpg.connect(url)
        with pytest.raises(asyncpg.InsufficientPrivilegeError, match="only added to"):
            await connection.execute(statement)
        await connection.close()
