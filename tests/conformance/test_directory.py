"""The built-in directory behind its door: keys that rotate, logins that are checked, and no word about who exists."""

from __future__ import annotations

import asyncio
import stat
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import jwt
import pytest
from argon2 import PasswordHasher

from interlock.backends.identity.argon2id import Argon2Passwords
from interlock.backends.identity.directory import DirectoryIdentity
from interlock.backends.identity.issued import KEY_FILE, IssuedTokens
from interlock.backends.secrets.aes_gcm import AesGcmSecrets
from interlock.backends.secrets.given_keys import GivenKeys
from interlock.backends.store.postgres.users import PostgresAccounts
from interlock.core.account import Account, AccountFilter, Held
from interlock.core.errors import ErrorKind, InterlockError
from interlock.core.principal import Principal, Role, Scope
from interlock.kit.clock import ManualClock
from interlock.kit.ids import RandomIds
from interlock.services.identity.bundle import DirectoryServices, build_directory
from interlock.services.identity.confirm import ConfirmAddresses

PASSWORD = "correct horse battery"


@dataclass
class Directory:
    """The parts of one directory, with a clock that is moved by hand."""

    clock: ManualClock
    accounts: PostgresAccounts
    passwords: Argon2Passwords
    tokens: IssuedTokens
    identity: DirectoryIdentity

    def services(self, *, confirms_at_once: bool = True, mail: Mailbox | None = None) -> DirectoryServices:
        parts = (self.accounts, self.passwords, self.tokens, self.clock, RandomIds())
        secrets = AesGcmSecrets(GivenKeys(["a key for tests, of 32 bytes or more"]))
        confirm = None if mail is None else ConfirmAddresses(self.accounts, mail, self.clock, secrets, "http://here")
        return build_directory(*parts, confirms_at_once=confirms_at_once, confirm=confirm)

    async def wait_out(self, email: str) -> None:
        """As if nobody had asked for a link in the last minute."""
        async with self.accounts._transaction() as session:
            past = "update interlock.users set updated_at = updated_at - interval '1 minute' where email = $1"
            await session.run(past, email)


class Mailbox:
    """Keeps what is mailed; the tokens of its links in their order."""

    def __init__(self) -> None:
        self.tokens: list[str] = []

    async def send(self, to: str, subject: str, text: str) -> None:
        self.tokens.append(text.partition("&token=")[2].split()[0])


@pytest.fixture
async def directory(database: Any, tmp_path: Path) -> AsyncIterator[Directory]:
    clock = ManualClock(datetime.now(UTC))
    accounts = PostgresAccounts(database.serve_url)
    accounts.open()
    tokens = IssuedTokens(tmp_path, clock, "interlock", "authenticated")
    tokens.open()
    cheap = Argon2Passwords(PasswordHasher(time_cost=1, memory_cost=8, parallelism=1))
    yield Directory(clock, accounts, cheap, tokens, DirectoryIdentity(tokens, accounts, clock))
    await accounts.close()


def address() -> str:
    return f"{RandomIds().new().hex}@example.org"


async def refusal(awaited: Any) -> InterlockError:
    with pytest.raises(InterlockError) as refused:
        await awaited
    return refused.value


def administrator(tenant_id: str) -> Principal:
    return Principal("root", tenant_id, frozenset(Scope))


async def test_a_disabled_account_and_an_ended_login_are_believed_for_half_a_minute_at_most(
    directory: Directory,
) -> None:
    services = directory.services()
    account = await services.own_accounts.sign_up(address(), PASSWORD, {})
    login = await services.log_in.open(account)
    principal = await directory.identity.authenticate(login.access_token)
    assert (principal.subject, principal.tenant_id, principal.email) == (
        str(account.user_id),
        account.tenant_id,
        account.email,
    )
    await services.administer.change(administrator(account.tenant_id), account.email, disabled=True)
    directory.clock.advance(timedelta(seconds=30))
    assert (await refusal(directory.identity.authenticate(login.access_token))).details["reason"] == "auth_failed"
    assert (await refusal(services.log_in.with_password(account.email, PASSWORD, "a"))).code == "USER_BANNED"
    assert (await refusal(services.log_in.with_refresh_token(login.refresh_token))).kind is ErrorKind.INVALID


async def test_a_role_counts_although_the_token_says_the_old_one(directory: Directory) -> None:
    services = directory.services()
    account = await services.own_accounts.sign_up(address(), PASSWORD, {})
    token = (await services.log_in.open(account)).access_token
    await services.administer.change(administrator(account.tenant_id), str(account.user_id), role=Role.VIEWER)
    principal = await directory.identity.authenticate(token)
    assert principal.role is Role.VIEWER
    assert not principal.has_scope(Scope.WORKFLOWS_WRITE)


async def test_administering_needs_the_scope_and_stays_in_the_tenant(directory: Directory) -> None:
    services = directory.services()
    account = await services.own_accounts.sign_up(address(), PASSWORD, {})
    member = Principal(str(account.user_id), account.tenant_id, frozenset(Scope) - {Scope.ADMIN})
    for attempt in (
        services.administer.list(member, AccountFilter(limit=1)),
        services.administer.create(member, email=address(), password=PASSWORD),
        services.administer.change(member, account.email, role=Role.ADMIN),
    ):
        assert (await refusal(attempt)).kind is ErrorKind.DENIED
    stranger = administrator("another")
    for reference in (account.email, str(account.user_id), "nobody@example.org"):
        assert (await refusal(services.administer.change(stranger, reference, confirm=True))).code == "NOT_FOUND"


async def test_the_operator_reaches_who_signed_up_by_the_address_alone(directory: Directory) -> None:
    services = directory.services(confirms_at_once=False)
    account = await services.own_accounts.sign_up(address(), PASSWORD, {})
    operator = administrator("default")
    found, total = await services.administer.list(operator, AccountFilter(email=account.email))
    assert ([one.tenant_id for one in found], total) == ([account.tenant_id], 1)
    confirmed = await services.administer.change(operator, account.email, confirm=True)
    assert (confirmed.user_id, confirmed.can_log_in) == (account.user_id, True)
    assert (await refusal(services.administer.get(operator, account.email))).code == "NOT_FOUND", "nobody of its own"


async def test_where_addresses_must_be_confirmed_nobody_learns_who_has_an_account(directory: Directory) -> None:
    services = directory.services(confirms_at_once=False)
    email = address()
    first = await services.own_accounts.sign_up(email, PASSWORD, {"name": "Ann"})
    second = await services.own_accounts.sign_up(email, "another password", {"name": "Eve"})
    assert (first.email, first.confirmed_at) == (second.email, second.confirmed_at)
    assert await directory.accounts.get(second.user_id) is None
    assert (await refusal(services.log_in.with_password(email, PASSWORD, "a"))).code == "EMAIL_NOT_CONFIRMED"
    assert (await refusal(services.log_in.with_password(email, "another password", "a"))).code == "INVALID_CREDENTIALS"
    await services.administer.change(administrator(first.tenant_id), email, confirm=True)
    assert (await services.log_in.with_password(email, PASSWORD, "a")).account.user_id == first.user_id


async def test_signing_up_again_sends_a_new_link_and_each_brings_its_own_password(directory: Directory) -> None:
    mail = Mailbox()
    services, email = directory.services(confirms_at_once=False, mail=mail), address()
    assert services.confirm is not None

    async def sign_up(password: str, name: str) -> None:
        await services.own_accounts.sign_up(email, password, {"name": name})
        assert services.confirm is not None
        await services.confirm.close()

    await sign_up("password of eve", "Eve")
    await sign_up(PASSWORD, "Ann")
    assert len(mail.tokens) == 1, "no two links within a minute"
    await directory.wait_out(email)
    await sign_up(PASSWORD, "Ann")
    eves, anns = mail.tokens
    account = await services.confirm.confirm(anns)
    assert (account.email, account.user_metadata) == (email, {})
    assert (await services.confirm.confirm(eves)).user_id == account.user_id, "too late: nothing changes"
    assert (await services.log_in.with_password(email, PASSWORD, "a")).account.user_id == account.user_id
    assert (await refusal(services.log_in.with_password(email, "password of eve", "a"))).code == "INVALID_CREDENTIALS"
    await directory.wait_out(email)
    await sign_up("password of eve", "Eve")
    assert len(mail.tokens) == 2, "a confirmed address gets none"


async def test_a_link_counts_for_a_day_and_cannot_be_made_up(directory: Directory) -> None:
    mail = Mailbox()
    services = directory.services(confirms_at_once=False, mail=mail)
    assert services.confirm is not None
    await services.own_accounts.sign_up(address(), PASSWORD, {})
    await services.confirm.close()
    (token,) = mail.tokens
    for wrong in ("", "x", "A" * 40, token[:-5] + "AAAAA", token.swapcase(), "é"):
        assert (await refusal(services.confirm.confirm(wrong))).code == "OTP_EXPIRED", wrong
    directory.clock.advance(timedelta(hours=24))
    assert (await refusal(services.confirm.confirm(token))).code == "OTP_EXPIRED"


async def test_keys_rotate_and_the_old_one_counts_for_a_day(directory: Directory, tmp_path: Path) -> None:
    account, login_id = account_of(), RandomIds().new()
    old, _ = directory.tokens.sign(account, login_id, directory.clock.now())
    kid = directory.tokens.rotate()
    new, ends_at = directory.tokens.sign(account, login_id, directory.clock.now())
    assert jwt.get_unverified_header(new)["kid"] == kid
    assert {key["kid"] for key in directory.tokens.public_keys()} == {
        jwt.get_unverified_header(token)["kid"] for token in (old, new)
    }
    for token in (old, new):
        assert directory.tokens.read(token) == Held(account.user_id, login_id, ends_at)
    assert stat.S_IMODE((tmp_path / KEY_FILE).stat().st_mode) == 0o600
    directory.clock.advance(timedelta(days=1))
    assert [key["kid"] for key in directory.tokens.public_keys()] == [kid]
    directory.clock.advance(timedelta(days=89))
    later, _ = directory.tokens.sign(account, login_id, directory.clock.now())
    assert jwt.get_unverified_header(later)["kid"] != kid, "a key signs for ninety days"


async def test_another_process_over_the_same_folder_reads_the_tokens(directory: Directory, tmp_path: Path) -> None:
    other = IssuedTokens(tmp_path, directory.clock, "interlock", "authenticated")
    other.open()
    directory.tokens.rotate()
    token, _ = directory.tokens.sign(account_of(), RandomIds().new(), directory.clock.now())
    assert other.read(token)


async def test_of_many_processes_that_find_a_key_too_old_one_makes_the_next(
    directory: Directory, tmp_path: Path
) -> None:
    processes = [IssuedTokens(tmp_path, directory.clock, "interlock", "authenticated") for _ in range(6)]
    for process in processes:
        process.open()
    directory.clock.advance(timedelta(days=90))
    login_id, now = RandomIds().new(), directory.clock.now()
    signed = await asyncio.gather(
        *(asyncio.to_thread(process.sign, account_of(), login_id, now) for process in processes)
    )
    assert len({jwt.get_unverified_header(token)["kid"] for token, _ in signed}) == 1
    assert all(process.read(token) for process in processes for token, _ in signed)


async def test_a_token_ends_after_an_hour_and_another_servers_is_not_read(directory: Directory, tmp_path: Path) -> None:
    token, ends_at = directory.tokens.sign(account_of(), RandomIds().new(), directory.clock.now())
    elsewhere = IssuedTokens(tmp_path / "elsewhere", directory.clock, "interlock", "authenticated")
    elsewhere.open()
    forged, _ = elsewhere.sign(account_of(), RandomIds().new(), directory.clock.now())
    for bad in (forged, token + "x", "..", "a", token.replace(".", "")):
        with pytest.raises(InterlockError):
            directory.tokens.read(bad)
    directory.clock.advance(timedelta(seconds=ends_at - directory.clock.now().timestamp()))
    with pytest.raises(InterlockError) as refused:
        directory.tokens.read(token)
    assert refused.value.details["reason"] == "expired"


async def test_passwords_are_kept_as_argon2id_and_compared_as_whole_texts() -> None:
    passwords = Argon2Passwords()
    kept = await passwords.hash("ünïcode " * 20)
    assert kept.startswith("$argon2id$")
    assert await passwords.matches("ünïcode " * 20, kept)
    assert not await passwords.matches("ünïcode " * 19, kept)
    assert not await passwords.matches("nobody's password", None), "without a hash nothing is the password"
    assert not await passwords.matches("x", "no hash")


def account_of() -> Account:
    now = datetime.now(UTC)
    return Account(
        user_id=RandomIds().new(),
        tenant_id="t",
        email="a@example.org",
        role=Role.MEMBER,
        user_metadata={},
        created_at=now,
        updated_at=now,
        confirmed_at=now,
    )
