"""Logging in with a password, staying logged in with refresh tokens, and leaving."""

from __future__ import annotations

import hashlib
import secrets

import msgspec
import structlog

from interlock.core.account import REFRESH_LIFETIME, Account, Held, normal_email
from interlock.core.errors import ErrorKind, InterlockError, invalid
from interlock.kit.clock import Clock
from interlock.kit.ids import Ids
from interlock.ports.access_tokens import AccessTokens
from interlock.ports.accounts import Accounts, Exchange
from interlock.ports.passwords import Passwords

_log = structlog.get_logger("interlock.identity")
_TOKEN_BYTES = 32
_MAX_TOKEN = 256


class Login(msgspec.Struct, frozen=True, kw_only=True):
    """What somebody gets who logged in. ``expires_at`` is the end of the access token, epoch seconds."""

    access_token: str
    expires_at: int
    refresh_token: str
    account: Account


class LogIn:
    """Opens, renews and ends logins. Nobody is a principal yet here: the password, or the token, is the proof."""

    def __init__(self, accounts: Accounts, passwords: Passwords, tokens: AccessTokens, clock: Clock, ids: Ids) -> None:
        self._accounts = accounts
        self._passwords = passwords
        self._tokens = tokens
        self._clock = clock
        self._ids = ids

    async def with_password(self, email: str, password: str, address: str) -> Login:
        """A login for the right password. Each attempt counts as failed until it has succeeded.

        Raises INVALID ``INVALID_CREDENTIALS`` for a wrong one and for an account that does not exist, in the same
        words and time; ``EMAIL_NOT_CONFIRMED`` and ``USER_BANNED`` only to who knows the password; LIMITED after ten
        failures for this account from this address in ten minutes.
        """
        try:
            email = normal_email(email)
        except InterlockError as error:
            raise _wrong_credentials() from error
        found = await self._accounts.find(email)
        account, password_hash = found or (None, None)
        seconds = await self._accounts.begin_attempt(account.tenant_id if account else "", email, address)
        if seconds is not None:
            raise _too_many(seconds)
        if not await self._passwords.matches(password, password_hash) or account is None:
            _log.info("identity.refused", reason="invalid_credentials", address=address)
            raise _wrong_credentials()
        await self._accounts.forgive_attempts(email, address)
        _require_good(account)
        return await self.open(account)

    async def open(self, account: Account) -> Login:
        """A login for an account whose owner was made sure of."""
        login_id = self._ids.new()
        refresh_token = _new_token()
        ends_at = self._clock.now() + REFRESH_LIFETIME
        await self._accounts.open_login(login_id, account, _digest(refresh_token), ends_at)
        token, expires_at = self._tokens.sign(account, login_id, self._clock.now())
        return Login(access_token=token, expires_at=expires_at, refresh_token=refresh_token, account=account)

    async def with_refresh_token(self, refresh_token: str) -> Login:
        """The next pair of tokens. A refresh token that comes a second time ends the whole login.

        Raises INVALID ``REFRESH_TOKEN_NOT_FOUND`` or ``REFRESH_TOKEN_ALREADY_USED``.
        """
        if not 0 < len(refresh_token) <= _MAX_TOKEN:
            raise _no_refresh_token()
        now = self._clock.now()
        following = _new_token()
        exchanged = await self._accounts.exchange(_digest(refresh_token), _digest(following), now + REFRESH_LIFETIME)
        account, login_id = exchanged.account, exchanged.login_id
        if exchanged.outcome is Exchange.REUSED:
            _log.warning("identity.refresh_token_reused", login_id=str(login_id))
            message = "This refresh token was used before, so the login was ended; log in again"
            raise invalid("REFRESH_TOKEN_ALREADY_USED", message)
        if account is None or login_id is None:
            raise _no_refresh_token()
        token, expires_at = self._tokens.sign(account, login_id, now)
        return Login(access_token=token, expires_at=expires_at, refresh_token=following, account=account)

    async def leave(self, held: Held, extent: str) -> None:
        """End logins of the bearer: ``local`` this one, ``others`` all but this, ``global`` all."""
        match extent:
            case "local":
                await self._accounts.end_logins(held.user_id, only=held.login_id)
            case "others":
                await self._accounts.end_logins(held.user_id, but=held.login_id)
            case _:
                await self._accounts.end_logins(held.user_id)


def _require_good(account: Account) -> None:
    if account.disabled_at is not None:
        raise invalid("USER_BANNED", "This account is disabled; ask an administrator")
    if account.confirmed_at is None:
        raise invalid("EMAIL_NOT_CONFIRMED", "Confirm the e-mail address first, or ask an administrator to do it")


def _new_token() -> str:
    return secrets.token_urlsafe(_TOKEN_BYTES)


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode(errors="surrogatepass")).digest()


def _wrong_credentials() -> InterlockError:
    return invalid("INVALID_CREDENTIALS", "Invalid login credentials")


def _no_refresh_token() -> InterlockError:
    return invalid("REFRESH_TOKEN_NOT_FOUND", "There is no such refresh token any more; log in again")


def _too_many(seconds: float) -> InterlockError:
    return InterlockError(
        ErrorKind.LIMITED,
        "RATE_LIMIT_EXCEEDED",
        "Too many failed attempts for this account; wait before the next one",
        retryable=True,
        retry_after=seconds,
    )
