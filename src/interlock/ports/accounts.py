"""Where the built-in directory keeps accounts, logins and failed attempts."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, Protocol
from uuid import UUID

import msgspec

from interlock.core.account import Account, AccountFilter, Standing
from interlock.core.principal import Role


class Exchange(StrEnum):
    """What became of a refresh token that somebody brought."""

    DONE = "done"
    UNKNOWN = "unknown"  # never given out, too old, or its login has ended
    REUSED = "reused"  # it was exchanged before: the whole login has been ended


class Exchanged(msgspec.Struct, frozen=True):
    """The outcome; account and login are there if it is DONE, or REUSED."""

    outcome: Exchange
    account: Account | None = None
    login_id: UUID | None = None


class Accounts(Protocol):
    """Rows of accounts. A login is what one password check opens: a family of refresh tokens with one id.

    Digests are SHA-256; no method is ever given a refresh token itself. Raises UNAVAILABLE and TIMEOUT.
    """

    async def add(self, account: Account, password_hash: str) -> None:
        """A new account, and with it its tenant. Raises CONFLICT if its address or id is taken."""
        ...

    async def find(self, email: str) -> tuple[Account, str] | None:
        """The account of an address with its password hash."""
        ...

    async def get(self, user_id: UUID) -> Account | None: ...

    async def list(self, tenant_id: str | None, wanted: AccountFilter) -> tuple[Sequence[Account], int]:
        """Accounts of a tenant, or of all of them, oldest first, and how many there are."""
        ...

    async def set_password(self, user_id: UUID, password_hash: str, keep_login: UUID | None) -> None:
        """Change the password and end all logins but ``keep_login``."""
        ...

    async def set_metadata(self, user_id: UUID, user_metadata: dict[str, Any]) -> Account | None: ...

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
        ...

    async def sign_up_again(self, email: str, after: timedelta) -> Account | None:
        """The account of an address that waits for its confirmation, if nobody asked in the last time ``after``."""
        ...

    async def confirm(self, user_id: UUID, password_hash: str) -> Account | None:
        """Confirm an account that waits for it, with this password; None if there is none that waits.

        What was said about the person with another password is not kept.
        """
        ...

    async def begin_attempt(self, tenant_id: str, email: str, address: str) -> float | None:
        """Count an attempt to log in as a failure, or say in how many seconds the next one is allowed."""
        ...

    async def forgive_attempts(self, email: str, address: str) -> None:
        """The attempt succeeded: nothing of it and of those before counts any more."""
        ...

    async def open_login(self, login_id: UUID, account: Account, digest: bytes, expires_at: datetime) -> None:
        """A new login with its first refresh token."""
        ...

    async def exchange(self, digest: bytes, next_digest: bytes, expires_at: datetime) -> Exchanged:
        """Use a refresh token up and put the next one in its place; of two callers at once one gets REUSED."""
        ...

    async def end_logins(self, user_id: UUID, *, only: UUID | None = None, but: UUID | None = None) -> None:
        """End one login, all but one, or all."""
        ...

    async def standing(self, user_id: UUID, login_id: UUID) -> Standing | None:
        """What a login is worth now; None if there never was one."""
        ...
