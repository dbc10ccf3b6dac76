"""What people do with their own account: make it, look at it, change it."""

from __future__ import annotations

from typing import Any

from interlock.core.account import Account, Held, check_metadata, check_password, normal_email
from interlock.core.errors import ErrorKind, InterlockError, rule_broken
from interlock.core.principal import Role
from interlock.kit.clock import Clock
from interlock.kit.ids import Ids
from interlock.ports.access_tokens import AccessTokens
from interlock.ports.accounts import Accounts
from interlock.ports.passwords import Passwords
from interlock.services.identity.confirm import ConfirmAddresses


class OwnAccounts:
    """Accounts by their owners. ``confirms_at_once`` is for local mode and servers without mail."""

    def __init__(
        self,
        accounts: Accounts,
        passwords: Passwords,
        tokens: AccessTokens,
        clock: Clock,
        ids: Ids,
        *,
        confirms_at_once: bool,
        confirm: ConfirmAddresses | None = None,
    ) -> None:
        self._accounts = accounts
        self._passwords = passwords
        self._tokens = tokens
        self._clock = clock
        self._ids = ids
        self.confirms_at_once = confirms_at_once
        self._confirm = confirm

    async def sign_up(self, email: str, password: str, user_metadata: dict[str, Any]) -> Account:
        """A new account with a tenant of its own, named by its id.

        Where accounts do not count at once, a link to confirm it is mailed to the address if there is mail, also to
        one that is taken and waits for that. A taken address is told (RULE ``USER_ALREADY_EXISTS``) only where accounts
        count at once; elsewhere the answer looks like that for a free one, so that nobody learns who has an account.
        Raises RULE for what may not be.
        """
        email, password = normal_email(email), check_password(password)
        user_metadata = check_metadata(user_metadata)
        now, user_id = self._clock.now(), self._ids.new()
        password_hash = await self._passwords.hash(password)
        account = Account(
            user_id=user_id,
            tenant_id=str(user_id),
            email=email,
            role=Role.MEMBER,
            user_metadata=user_metadata,
            created_at=now,
            updated_at=now,
            confirmed_at=now if self.confirms_at_once else None,
        )
        try:
            await self._accounts.add(account, password_hash)
            if self._confirm is not None and not self.confirms_at_once:
                self._confirm.begin(account, password_hash)
        except InterlockError as error:
            if error.kind is not ErrorKind.CONFLICT:
                raise
            if self.confirms_at_once:
                raise rule_broken("USER_ALREADY_EXISTS", "There is an account with this address; log in") from error
            if self._confirm is not None:
                self._confirm.begin_again(email, password_hash)
        return account

    async def bearer(self, token: str) -> tuple[Held, Account]:
        """Whose token it is. Raises UNAUTHENTICATED unless its login is still good."""
        held = self._tokens.read(token)
        standing = await self._accounts.standing(held.user_id, held.login_id)
        account = await self._accounts.get(held.user_id)
        if standing is None or not standing.is_good or account is None:
            details = {"reason": "auth_failed"}
            message = "This login has ended; log in again"
            raise InterlockError(ErrorKind.UNAUTHENTICATED, "SESSION_NOT_FOUND", message, details=details)
        return held, account

    async def change(
        self, held: Held, account: Account, *, password: str | None, user_metadata: dict[str, Any] | None
    ) -> Account:
        """Another password, which ends all other logins, or other words about oneself; null takes one away."""
        if password is not None:
            password_hash = await self._passwords.hash(check_password(password))
            await self._accounts.set_password(account.user_id, password_hash, held.login_id)
        if user_metadata is not None:
            merged = {**account.user_metadata, **user_metadata}
            merged = {name: value for name, value in merged.items() if value is not None}
            account = await self._accounts.set_metadata(account.user_id, check_metadata(merged)) or account
        return account
