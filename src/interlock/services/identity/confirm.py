"""Confirming an address by a link that was mailed to it."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
from collections.abc import Sequence
from datetime import timedelta
from uuid import UUID

import structlog

from interlock.core.account import Account
from interlock.core.errors import ErrorKind, InterlockError
from interlock.kit.clock import Clock
from interlock.ports.accounts import Accounts
from interlock.ports.mail import Mail

LIFETIME = timedelta(hours=24)
"""How long a link counts."""
MAX_SENDING = 100
"""Messages that are under way at a time; of more, the account is made and an administrator confirms it."""

_PURPOSE = b"confirm-address"
_ID_BYTES, _TIME_BYTES, _PROOF_BYTES = 16, 8, 32
_SUBJECT = "Confirm your address"
_TEXT = """\
Somebody, hopefully you, made an account with this address.

Confirm it within a day by opening this link:

{link}

If it was not you, do nothing: the account cannot be used until then.
"""


class ConfirmAddresses:
    """Mails links and takes them back. A link holds its own proof, made with ``keys``, the newest first."""

    def __init__(self, accounts: Accounts, mail: Mail, clock: Clock, keys: Sequence[bytes], public_url: str) -> None:
        self._accounts = accounts
        self._mail = mail
        self._clock = clock
        self._keys = [hmac.digest(key, _PURPOSE, hashlib.sha256) for key in keys]
        self._public_url = public_url.rstrip("/")
        self._sending: set[asyncio.Task[None]] = set()
        self._log = structlog.get_logger("interlock.identity")

    def begin(self, account: Account) -> None:
        """Mail a link, without keeping anybody waiting: how long it takes must not tell whether the account is new."""
        if len(self._sending) >= MAX_SENDING:
            self._log.error("identity.mail_left_out", user_id=str(account.user_id), meaning="too many are under way")
            return
        task = asyncio.create_task(self._send(account))
        self._sending.add(task)
        task.add_done_callback(self._sending.discard)

    async def close(self) -> None:
        """Wait a moment for what is under way."""
        if self._sending:
            await asyncio.wait(self._sending, timeout=5.0)

    async def confirm(self, token: str) -> Account:
        """The account whose link this is, confirmed. Raises INVALID for a link that is over or never was one."""
        user_id, content, proof = _read(token)
        ends_at = int.from_bytes(content[_ID_BYTES:], "big")
        account = await self._accounts.get(user_id) if self._clock.now().timestamp() < ends_at else None
        if account is None or not self._is_ours(content, account.email, proof):
            raise _no_link()
        confirmed = await self._accounts.administer(account.tenant_id, user_id, confirm=True)
        return confirmed or account

    async def _send(self, account: Account) -> None:
        link = f"{self._public_url}/auth/v1/verify?type=signup&token={self._token(account)}"
        try:
            await self._mail.send(account.email, _SUBJECT, _TEXT.format(link=link))
        except InterlockError as error:
            self._log.error("identity.mail_failed", user_id=str(account.user_id), code=error.code, reason=error.message)

    def _token(self, account: Account) -> str:
        ends_at = int((self._clock.now() + LIFETIME).timestamp())
        content = account.user_id.bytes + ends_at.to_bytes(_TIME_BYTES, "big")
        proof = _proof(self._keys[0], content, account.email)
        return base64.urlsafe_b64encode(content + proof).decode().rstrip("=")

    def _is_ours(self, content: bytes, email: str, proof: bytes) -> bool:
        return any(hmac.compare_digest(_proof(key, content, email), proof) for key in self._keys)


def _proof(key: bytes, content: bytes, email: str) -> bytes:
    return hmac.digest(key, content + email.encode(), hashlib.sha256)


def _read(token: str) -> tuple[UUID, bytes, bytes]:
    try:
        found = base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True)
    except ValueError:
        found = b""
    if len(found) != _ID_BYTES + _TIME_BYTES + _PROOF_BYTES:
        raise _no_link()
    content = found[: _ID_BYTES + _TIME_BYTES]
    return UUID(bytes=content[:_ID_BYTES]), content, found[len(content) :]


def _no_link() -> InterlockError:
    message = "This link is over or is none; ask an administrator to confirm the address"
    return InterlockError(ErrorKind.INVALID, "OTP_EXPIRED", message)
