"""Looking after the accounts of a tenant."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from interlock.core.account import Account, AccountFilter, check_password, normal_email
from interlock.core.errors import ErrorKind, InterlockError, conflict, not_found
from interlock.core.principal import Principal, Role, Scope
from interlock.core.tenant import is_operator
from interlock.kit.clock import Clock
from interlock.kit.ids import Ids
from interlock.ports.accounts import Accounts
from interlock.ports.passwords import Passwords

MAX_ACCOUNTS = 10_000
"""Accounts of a tenant."""


class AdministerAccounts:
    """Accounts of the caller's tenant, for the operator those of all. Every call needs the scope ``admin``.

    A foreign account is not found. Who signs up has a tenant of their own, whose name nobody needs to know to let them
    in: that is why the operator reaches everybody by the address alone.
    """

    def __init__(self, accounts: Accounts, passwords: Passwords, clock: Clock, ids: Ids) -> None:
        self._accounts = accounts
        self._passwords = passwords
        self._clock = clock
        self._ids = ids

    async def create(
        self, principal: Principal, *, email: str, password: str, role: Role = Role.MEMBER, is_confirmed: bool = True
    ) -> Account:
        """A new account in the caller's tenant.

        Raises CONFLICT if the address is taken and beyond ``MAX_ACCOUNTS``, RULE, DENIED.
        """
        principal.require(Scope.ADMIN)
        email, password = normal_email(email), check_password(password)
        _, number = await self._accounts.list(principal.tenant_id, AccountFilter(limit=1))
        if number >= MAX_ACCOUNTS:
            raise conflict("TOO_MANY_ACCOUNTS", f"A tenant has at most {MAX_ACCOUNTS} accounts, disabled ones too")
        now = self._clock.now()
        account = Account(
            user_id=self._ids.new(),
            tenant_id=principal.tenant_id,
            email=email,
            role=role,
            user_metadata={},
            created_at=now,
            updated_at=now,
            confirmed_at=now if is_confirmed else None,
        )
        try:
            await self._accounts.add(account, await self._passwords.hash(password))
        except InterlockError as error:
            if error.kind is ErrorKind.CONFLICT:
                raise conflict("ALREADY_EXISTS", f"There is an account with the address {email}") from error
            raise
        return account

    async def list(self, principal: Principal, wanted: AccountFilter) -> tuple[Sequence[Account], int]:
        """Accounts that the caller looks after, oldest first, and how many there are."""
        principal.require(Scope.ADMIN)
        return await self._accounts.list(_looked_after(principal), wanted)

    async def get(self, principal: Principal, reference: str) -> Account:
        """The account of the caller's own tenant with an id or an e-mail address. Raises NOT_FOUND."""
        principal.require(Scope.ADMIN)
        return await self._look_up(reference, principal.tenant_id)

    async def _look_up(self, reference: str, tenant_id: str | None) -> Account:
        user_id = _as_id(reference)
        if user_id is not None:
            account = await self._accounts.get(user_id)
        else:
            found = await self._accounts.find(reference.strip().lower())
            account = found and found[0]
        if account is None or tenant_id not in (None, account.tenant_id):
            raise _not_there(reference)
        return account

    async def change(
        self,
        principal: Principal,
        reference: str,
        *,
        role: Role | None = None,
        confirm: bool = False,
        disabled: bool | None = None,
        password: str | None = None,
    ) -> Account:
        """Another role, a confirmed address, disabled or let in again, another password.

        The logins of a disabled account, and of one with another password, end.

        A role counts at once at the next log-in and renewal, and within 5 s for tokens in use. Raises NOT_FOUND.
        """
        principal.require(Scope.ADMIN)
        found = await self._look_up(reference, _looked_after(principal))
        password_hash = await self._passwords.hash(check_password(password)) if password is not None else None
        account = await self._accounts.administer(
            found.tenant_id, found.user_id, role=role, confirm=confirm, disabled=disabled
        )
        if account is None:
            raise _not_there(reference)
        if password_hash is not None:
            await self._accounts.set_password(found.user_id, password_hash, None)
        return account


def _looked_after(principal: Principal) -> str | None:
    """The tenant whose accounts somebody looks after; None means all."""
    return None if is_operator(principal) else principal.tenant_id


def _as_id(reference: str) -> UUID | None:
    try:
        return UUID(reference)
    except ValueError:
        return None


def _not_there(reference: str) -> InterlockError:
    return not_found("NOT_FOUND", f"There is no account {reference[:254]}")
