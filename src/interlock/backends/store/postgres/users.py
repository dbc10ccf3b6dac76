"""Accounts in Postgres, as the role of access: no caller's claims reach these tables, and no caller sees them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import asyncpg

from interlock.backends.store.postgres.connections import Connections
from interlock.backends.store.postgres.queries import load
from interlock.backends.store.postgres.rows import decoded, encoded
from interlock.backends.store.postgres.session import Session
from interlock.core.account import ACCESS_LIFETIME, FAILURE_WINDOW, MAX_FAILURES, Account, AccountFilter, Standing
from interlock.core.principal import Role
from interlock.ports.accounts import Exchange, Exchanged

_SQL = load("users")
_ACCOUNT = frozenset(Account.__struct_fields__)


class PostgresAccounts:
    """Satisfies ``ports.accounts.Accounts`` over the serving URL; the login may become ``interlock_access``."""

    def __init__(self, url: str, *, connections: int = 3, cached_statements: int = 100) -> None:
        self._connections = Connections(url, connections, cached_statements)

    def open(self) -> None:
        """Take up work; nothing is connected before the first question."""
        self._connections.open()

    async def close(self) -> None:
        """Close all connections."""
        await self._connections.close()

    async def add(self, account: Account, password_hash: str) -> None:
        """A new account, and with it its tenant. Raises CONFLICT if its address or id is taken."""
        async with self._transaction() as session:
            await session.run(
                _SQL["add"],
                account.user_id,
                account.tenant_id,
                account.email,
                str(account.role),
                encoded(account.user_metadata),
                password_hash,
                account.confirmed_at,
                account.created_at,
            )
            await session.run(_SQL["note_tenant"], account.tenant_id)

    async def find(self, email: str) -> tuple[Account, str] | None:
        """The account of an address with its password hash."""
        async with self._transaction() as session:
            row = await session.row(_SQL["find"], email)
        return None if row is None else (_account_of(row), row["password_hash"])

    async def get(self, user_id: UUID) -> Account | None:
        """An account by its id."""
        async with self._transaction() as session:
            return _perhaps(await session.row(_SQL["get"], user_id))

    async def list(self, tenant_id: str | None, wanted: AccountFilter) -> tuple[Sequence[Account], int]:
        """Accounts of a tenant, or of all of them, oldest first, and how many there are."""
        values = (tenant_id, wanted.email, wanted.role and str(wanted.role), wanted.state)
        async with self._transaction() as session:
            rows = await session.rows(_SQL["list"], *values, wanted.limit, wanted.offset)
            return [_account_of(row) for row in rows], await session.value(_SQL["count"], *values)

    async def set_password(self, user_id: UUID, password_hash: str, keep_login: UUID | None) -> None:
        """Change the password and end all logins but one."""
        async with self._transaction() as session:
            await session.run(_SQL["set_password"], user_id, password_hash)
            await session.run(_SQL["end_logins"], user_id, None, keep_login)

    async def set_metadata(self, user_id: UUID, user_metadata: dict[str, Any]) -> Account | None:
        """Replace what a person says about themselves."""
        async with self._transaction() as session:
            return _perhaps(await session.row(_SQL["set_metadata"], user_id, encoded(user_metadata)))

    async def administer(
        self,
        tenant_id: str,
        user_id: UUID,
        *,
        role: Role | None = None,
        confirm: bool = False,
        disabled: bool | None = None,
    ) -> Account | None:
        """Change an account of this tenant; None if there is none. Disabling ends all its logins."""
        async with self._transaction() as session:
            wanted = None if role is None else str(role)
            account = _perhaps(await session.row(_SQL["administer"], tenant_id, user_id, wanted, confirm, disabled))
            if account is not None and disabled:
                await session.run(_SQL["end_logins"], user_id, None, None)
            return account

    async def sign_up_again(self, email: str, after: timedelta) -> Account | None:
        """The account of an address that waits for its confirmation, once in the time ``after``."""
        async with self._transaction() as session:
            return _perhaps(await session.row(_SQL["sign_up_again"], email, after))

    async def confirm(self, user_id: UUID, password_hash: str) -> Account | None:
        """Confirm an account that waits for it, with this password."""
        async with self._transaction() as session:
            return _perhaps(await session.row(_SQL["confirm"], user_id, password_hash))

    async def begin_attempt(self, tenant_id: str, email: str, address: str) -> float | None:
        """Count an attempt as a failure, or say in how many seconds the next one is allowed."""
        async with self._transaction() as session:
            await session.run(_SQL["lock_attempts"], email, address)
            seconds: float | None = await session.value(
                _SQL["begin_attempt"], tenant_id, email, address, FAILURE_WINDOW, MAX_FAILURES
            )
            await session.run(_SQL["forget_attempts"], FAILURE_WINDOW)
            return seconds

    async def forgive_attempts(self, email: str, address: str) -> None:
        """The attempt succeeded: nothing counts any more."""
        async with self._transaction() as session:
            await session.run(_SQL["forgive_attempts"], email, address)

    async def open_login(self, login_id: UUID, account: Account, digest: bytes, expires_at: datetime) -> None:
        """A new login with its first refresh token; what is left of the account's old ones is cleared away."""
        async with self._transaction() as session:
            await session.run(_SQL["forget_refresh_tokens"], account.user_id)
            await session.run(_SQL["forget_logins"], account.user_id, ACCESS_LIFETIME)
            await session.run(_SQL["open_login"], login_id, account.tenant_id, account.user_id)
            await session.run(_SQL["note_login"], account.user_id)
            await session.run(_SQL["add_refresh_token"], digest, login_id, account.tenant_id, expires_at)

    async def exchange(self, digest: bytes, next_digest: bytes, expires_at: datetime) -> Exchanged:
        """Use a refresh token up and put the next one in its place."""
        async with self._transaction() as session:
            login_id = await session.value(_SQL["lock_login"], digest)
            row = None if login_id is None else await session.row(_SQL["refresh_token"], digest)
            if row is None or row["has_ended"]:
                return Exchanged(Exchange.UNKNOWN)
            account = _account_of(row)
            if row["is_used"]:
                await session.run(_SQL["end_logins"], account.user_id, login_id, None)
                return Exchanged(Exchange.REUSED, account, login_id)
            if row["is_old"] or not account.can_log_in:
                return Exchanged(Exchange.UNKNOWN)
            await session.run(_SQL["use_refresh_token"], digest)
            await session.run(_SQL["add_refresh_token"], next_digest, login_id, account.tenant_id, expires_at)
            return Exchanged(Exchange.DONE, account, login_id)

    async def end_logins(self, user_id: UUID, *, only: UUID | None = None, but: UUID | None = None) -> None:
        """End one login, all but one, or all."""
        async with self._transaction() as session:
            await session.run(_SQL["end_logins"], user_id, only, but)

    async def standing(self, user_id: UUID, login_id: UUID) -> Standing | None:
        """What a login is worth now."""
        async with self._transaction() as session:
            row = await session.row(_SQL["standing"], user_id, login_id)
        if row is None:
            return None
        return Standing(tenant_id=row["tenant_id"], email=row["email"], role=Role(row["role"]), is_good=row["is_good"])

    @asynccontextmanager
    async def _transaction(self) -> AsyncIterator[Session]:
        async with self._connections.use() as connection:
            session = Session(connection)
            await session.run(_SQL["begin"])
            yield session
            await session.commit(_SQL["commit"])


def _account_of(row: asyncpg.Record) -> Account:
    columns = {name: value for name, value in row.items() if name in _ACCOUNT}
    return Account(**columns | {"role": Role(row["role"]), "user_metadata": decoded(row["user_metadata"])})


def _perhaps(row: asyncpg.Record | None) -> Account | None:
    return None if row is None else _account_of(row)
