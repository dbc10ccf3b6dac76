"""Confirming an address by a link that was mailed to it."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Coroutine
from datetime import timedelta
from typing import Any
from uuid import UUID

import structlog

from interlock.core.account import Account
from interlock.core.errors import ErrorKind, InterlockError
from interlock.kit.clock import Clock
from interlock.ports.accounts import Accounts
from interlock.ports.mail import Mail
from interlock.ports.secrets import Secrets

LIFETIME = timedelta(hours=24)
"""How long a link counts."""
AGAIN_AFTER = timedelta(minutes=1)
"""An address is sent no two links within this time."""
MAX_SENDING = 100
"""Messages that are under way at a time; of more, the account is made and an administrator confirms it."""

_PURPOSE = "confirm-address"
_ID_BYTES, _TIME_BYTES = 16, 8
_SUBJECT = "Confirm your address"
_TEXT = """\
Somebody, hopefully you, made an account with this address.

Confirm it within a day by opening this link. The password is then the one
that was given when the link was asked for:

{link}

If it was not you, do nothing: the account cannot be used until then.
"""


class ConfirmAddresses:
    """Mails links and takes them back. A link holds all that it is for, sealed: nobody can read or make one.

    Whoever signs up with an address that is not theirs gains nothing: each link brings the password of the one who
    asked for it, and the first that is opened decides.
    """

    def __init__(self, accounts: Accounts, mail: Mail, clock: Clock, secrets: Secrets, public_url: str) -> None:
        self._accounts = accounts
        self._mail = mail
        self._clock = clock
        self._secrets = secrets
        self._public_url = public_url.rstrip("/")
        self._sending: set[asyncio.Task[None]] = set()
        self._log = structlog.get_logger("interlock.identity")

    def begin(self, account: Account, password_hash: str) -> None:
        """Mail a link, without keeping anybody waiting: how long it takes must not tell whether the account is new."""
        self._do_aside(self._send(account, password_hash))

    def begin_again(self, email: str, password_hash: str) -> None:
        """Mail a further link to an address that still waits for its confirmation; else nothing. Never waits."""
        self._do_aside(self._send_again(email, password_hash))

    async def close(self) -> None:
        """Wait a moment for what is under way."""
        if self._sending:
            await asyncio.wait(self._sending, timeout=5.0)

    async def confirm(self, token: str) -> Account:
        """The account whose link this is, confirmed; a second time changes nothing.

        Raises INVALID for a link that is over or never was one.
        """
        user_id, ends_at, password_hash = self._read(token)
        if self._clock.now().timestamp() >= ends_at:
            raise _no_link()
        account = await self._accounts.confirm(user_id, password_hash) or await self._accounts.get(user_id)
        if account is None:
            raise _no_link()
        return account

    def _do_aside(self, work: Coroutine[Any, Any, None]) -> None:
        if len(self._sending) >= MAX_SENDING:
            work.close()
            self._log.error("identity.mail_left_out", meaning="too many are under way")
            return
        task = asyncio.create_task(work)
        self._sending.add(task)
        task.add_done_callback(self._sending.discard)

    async def _send_again(self, email: str, password_hash: str) -> None:
        try:
            account = await self._accounts.sign_up_again(email, AGAIN_AFTER)
        except InterlockError as error:
            self._log.error("identity.mail_left_out", code=error.code, reason=error.message)
            return
        if account is not None:
            await self._send(account, password_hash)

    async def _send(self, account: Account, password_hash: str) -> None:
        link = f"{self._public_url}/auth/v1/verify?type=signup&token={self._token(account, password_hash)}"
        try:
            await self._mail.send(account.email, _SUBJECT, _TEXT.format(link=link))
        except InterlockError as error:
            self._log.error("identity.mail_failed", user_id=str(account.user_id), code=error.code, reason=error.message)

    def _token(self, account: Account, password_hash: str) -> str:
        ends_at = int((self._clock.now() + LIFETIME).timestamp())
        content = account.user_id.bytes + ends_at.to_bytes(_TIME_BYTES, "big") + password_hash.encode()
        return base64.urlsafe_b64encode(self._secrets.seal("", _PURPOSE, content)).decode().rstrip("=")

    def _read(self, token: str) -> tuple[UUID, int, str]:
        """Of whom a link is, when it ends, and the hash of the password it brings. Raises INVALID."""
        try:
            sealed = base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True)
            content = self._secrets.open("", _PURPOSE, sealed)
        except (ValueError, InterlockError) as error:
            raise _no_link() from error
        ends = _ID_BYTES + _TIME_BYTES
        ends_at = int.from_bytes(content[_ID_BYTES:ends], "big")
        return UUID(bytes=content[:_ID_BYTES]), ends_at, content[ends:].decode()


def _no_link() -> InterlockError:
    message = "This link is over or is none; sign up again to get a new one, or ask an administrator"
    return InterlockError(ErrorKind.INVALID, "OTP_EXPIRED", message)
