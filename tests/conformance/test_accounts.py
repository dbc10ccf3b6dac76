"""The rows of the built-in directory: attempts are counted exactly, refresh tokens work once, tenants stay apart."""

from __future__ import annotations

import asyncio
import hashlib
from collections import Counter
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import asyncpg
import pytest

from interlock.backends.identity.argon2id import Argon2Passwords
from interlock.backends.store.postgres.users import PostgresAccounts
from interlock.core.account import MAX_FAILURES, Account, AccountFilter
from interlock.core.errors import ErrorKind, InterlockError
from interlock.core.principal import Principal, Role, Scope
from interlock.kit.clock import SystemClock
from interlock.kit.ids import RandomIds
from interlock.ports.accounts import Exchange
from interlock.services.identity import administer

NOW = datetime.now(UTC)
LATER = NOW + timedelta(days=30)


@pytest.fixture(scope="module")
async def accounts(database: Any) -> AsyncIterator[PostgresAccounts]:
    accounts = PostgresAccounts(database.serve_url, connections=8)
    accounts.open()
    yield accounts
    await accounts.close()


def digest(text: str) -> bytes:
    return hashlib.sha256(text.encode()).digest()


async def added(accounts: PostgresAccounts, **changes: Any) -> Account:
    user_id = RandomIds().new()
    fields = {
        "user_id": user_id,
        "tenant_id": f"tenant-{user_id}",
        "email": f"{user_id}@example.org",
        "role": Role.MEMBER,
        "user_metadata": {"name": "Ann 'é"},
        "created_at": NOW,
        "updated_at": NOW,
        "confirmed_at": NOW,
    }
    account = Account(**fields | changes)
    await accounts.add(account, "hash")
    return account


async def logged_in(accounts: PostgresAccounts, account: Account, first: str) -> UUID:
    login_id = RandomIds().new()
    await accounts.open_login(login_id, account, digest(first), LATER)
    return login_id


async def test_an_account_is_found_as_it_was_added(accounts: PostgresAccounts) -> None:
    account = await added(accounts)
    assert await accounts.find(account.email) == (account, "hash")
    assert await accounts.get(account.user_id) == account
    assert await accounts.find("nobody@example.org") is None


async def test_an_address_has_one_account(accounts: PostgresAccounts) -> None:
    account = await added(accounts)
    with pytest.raises(InterlockError) as refused:
        await added(accounts, email=account.email)
    assert refused.value.kind is ErrorKind.CONFLICT


async def test_of_many_attempts_at_once_exactly_ten_go_on(accounts: PostgresAccounts) -> None:
    email = f"{RandomIds().new()}@example.org"
    answers = await asyncio.gather(*(accounts.begin_attempt("", email, "10.0.0.1") for _ in range(25)))
    assert Counter(answer is None for answer in answers) == {True: MAX_FAILURES, False: 25 - MAX_FAILURES}
    assert all(0 < answer <= 600 for answer in answers if answer is not None)
    assert await accounts.begin_attempt("", email, "10.0.0.2") is None, "another address has its own count"
    await accounts.forgive_attempts(email, "10.0.0.1")
    assert await accounts.begin_attempt("", email, "10.0.0.1") is None


async def test_attempts_are_forgotten_after_ten_minutes(accounts: PostgresAccounts, database: Any) -> None:
    email = f"{RandomIds().new()}@example.org"
    for _ in range(MAX_FAILURES):
        await accounts.begin_attempt("", email, "a")
    superuser = await asyncpg.connect(database.superuser_url)
    await superuser.execute(
        "update interlock.login_attempts set at = at - interval '599 seconds' where email = $1", email
    )
    assert await accounts.begin_attempt("", email, "a") is not None
    await superuser.execute("update interlock.login_attempts set at = at - interval '1 second' where email = $1", email)
    assert await accounts.begin_attempt("", email, "a") is None
    assert await superuser.fetchval("select count(*) from interlock.login_attempts where email = $1", email) == 1
    await superuser.close()


async def test_of_many_exchanges_of_one_token_one_wins_and_the_login_ends(accounts: PostgresAccounts) -> None:
    account = await added(accounts)
    first = f"first-{account.user_id}"
    login_id = await logged_in(accounts, account, first)
    exchanges = await asyncio.gather(
        *(accounts.exchange(digest(first), digest(f"{first}-{number}"), LATER) for number in range(5))
    )
    outcomes = Counter(exchanged.outcome for exchanged in exchanges)
    assert outcomes == {Exchange.DONE: 1, Exchange.REUSED: 1, Exchange.UNKNOWN: 3}
    standing = await accounts.standing(account.user_id, login_id)
    assert standing is not None
    assert not standing.is_good
    for number in range(5):
        following = await accounts.exchange(digest(f"{first}-{number}"), digest(f"{first}-next"), LATER)
        assert following.outcome is Exchange.UNKNOWN


async def test_a_token_that_is_too_old_is_not_exchanged(accounts: PostgresAccounts) -> None:
    account = await added(accounts)
    login_id = RandomIds().new()
    await accounts.open_login(login_id, account, digest(f"old-{login_id}"), NOW - timedelta(seconds=1))
    assert (await accounts.exchange(digest(f"old-{login_id}"), digest("x"), LATER)).outcome is Exchange.UNKNOWN


async def test_a_new_login_clears_away_what_is_left_of_old_ones(accounts: PostgresAccounts, database: Any) -> None:
    account = await added(accounts)
    good, ended = [await logged_in(accounts, account, f"{name}-{account.user_id}") for name in ("good", "ended")]
    old = RandomIds().new()
    await accounts.open_login(old, account, digest(f"old-{old}"), NOW - timedelta(seconds=1))
    await accounts.end_logins(account.user_id, only=ended)
    superuser = await asyncpg.connect(database.superuser_url)
    await superuser.execute(
        "update interlock.logins set ended_at = now() - interval '2 hours' where login_id = $1", ended
    )
    last = await logged_in(accounts, account, f"last-{account.user_id}")
    found = await superuser.fetch("select login_id from interlock.logins where user_id = $1", account.user_id)
    assert {login_id for (login_id,) in found} == {good, last}
    await superuser.close()


async def test_disabling_ends_every_login_and_another_tenant_cannot_do_it(accounts: PostgresAccounts) -> None:
    account = await added(accounts)
    login_id = await logged_in(accounts, account, f"t-{account.user_id}")
    assert await accounts.administer("another", account.user_id, disabled=True, role=Role.ADMIN) is None
    standing = await accounts.standing(account.user_id, login_id)
    assert standing is not None
    assert (standing.is_good, standing.role) == (True, Role.MEMBER)
    changed = await accounts.administer(account.tenant_id, account.user_id, disabled=True)
    assert changed is not None
    assert changed.disabled_at is not None
    for disabled in (True, False):
        await accounts.administer(account.tenant_id, account.user_id, disabled=disabled)
        standing = await accounts.standing(account.user_id, login_id)
        assert standing is not None
        assert not standing.is_good, "a login that was ended stays ended"


async def test_a_login_says_nothing_about_another_account(accounts: PostgresAccounts) -> None:
    ann, ben = await added(accounts), await added(accounts)
    login_id = await logged_in(accounts, ann, f"t-{ann.user_id}")
    assert await accounts.standing(ben.user_id, login_id) is None
    await accounts.end_logins(ben.user_id, only=login_id)
    standing = await accounts.standing(ann.user_id, login_id)
    assert standing is not None
    assert standing.is_good


async def test_a_tenant_lists_its_own_accounts(accounts: PostgresAccounts) -> None:
    tenant_id = f"tenant-{RandomIds().new()}"
    days = [NOW + timedelta(days=day) for day in range(3)]
    made = [await added(accounts, tenant_id=tenant_id, created_at=day, updated_at=day) for day in days]
    await added(accounts)
    found, total = await accounts.list(tenant_id, AccountFilter(limit=2, offset=1))
    assert (list(found), total) == (made[1:], 3)


@pytest.mark.parametrize("role", ["authenticated", "interlock_engine", "anon"])
async def test_no_caller_reads_a_row_of_the_directory(accounts: PostgresAccounts, database: Any, role: str) -> None:
    account = await added(accounts)
    claims = f'{{"sub": "{account.user_id}", "tenant_id": "{account.tenant_id}"}}'
    connection = await asyncpg.connect(database.superuser_url)
    await connection.execute("select set_config('request.jwt.claims', $1, false)", claims)
    await connection.execute(f"set role {role}")
    for table in ("users", "logins", "refresh_tokens", "login_attempts"):
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await connection.fetch(f"select * from interlock.{table}")
    await connection.close()


async def test_a_tenant_has_so_many_accounts_and_no_more(
    accounts: PostgresAccounts, tenant: Any, monkeypatch: Any
) -> None:
    monkeypatch.setattr(administer, "MAX_ACCOUNTS", 1)
    administrator = Principal("ann", tenant.tenant_id, frozenset({Scope.ADMIN}))
    people = administer.AdministerAccounts(accounts, Argon2Passwords(), SystemClock(), RandomIds())
    first, second = [f"{name}-{tenant.tenant_id}@example.org" for name in ("ann", "ben")]
    await people.create(administrator, email=first, password="a long password of a test")
    with pytest.raises(InterlockError, match="at most 1 accounts"):
        await people.create(administrator, email=second, password="a long password of a test")
