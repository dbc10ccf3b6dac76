"""Signing secrets as rows: sealed by the server's keys, two of them good while one is replaced."""

from __future__ import annotations

import secrets

import structlog

from interlock.backends.store.postgres.queries import load
from interlock.backends.store.postgres.webhook_ledger import Use, fetch
from interlock.core.errors import InterlockError
from interlock.core.webhook import ROTATION, SECRET_BYTES, make_secret
from interlock.kit.clock import Clock
from interlock.ports.secrets import Secrets

_SQL = load("webhooks")
_PAGE = 500
_log = structlog.get_logger("interlock.secrets")


class PostgresSigningSecrets:
    """Satisfies ``ports/webhooks.SigningSecrets`` as ``interlock_engine``. Nothing is cached: a change is at once."""

    def __init__(self, use: Use, seals: Secrets, clock: Clock) -> None:
        self._use = use
        self._seals = seals
        self._clock = clock

    async def good(self, tenant_id: str, owner: str) -> tuple[str, ...]:
        rows = await fetch(self._use, _SQL["secret"], tenant_id, owner)
        if not rows:
            return ()
        row = rows[0]
        newest = self._open(tenant_id, owner, row["sealed"])
        if not self._seals.is_current(row["sealed"]):
            await self._reseal(tenant_id, owner, row["sealed"])
        if row["previous"] is None or row["previous_until"] <= self._clock.now():
            return (newest,)
        return newest, self._open(tenant_id, owner, row["previous"])

    async def ensure(self, tenant_id: str, owner: str) -> tuple[str, ...]:
        found = await self.good(tenant_id, owner)
        if found:
            return found
        sealed = self._seal(tenant_id, owner, make_secret(secrets.token_bytes(SECRET_BYTES)))
        await fetch(self._use, _SQL["add_secret"], tenant_id, owner, sealed)
        return await self.good(tenant_id, owner)

    async def put(self, tenant_id: str, owner: str, secret: str, *, keeps_former: bool = True) -> None:
        until = self._clock.now() + ROTATION if keeps_former else None
        await fetch(self._use, _SQL["replace_secret"], tenant_id, owner, self._seal(tenant_id, owner, secret), until)

    async def reseal(self) -> int:
        """Seal anew what an older key sealed, so that it can be thrown away; how many secrets it were.

        One that cannot be opened is left as it is, and said. Raises what the database raises.
        """
        count, after = 0, ("", "")
        while rows := await fetch(self._use, _SQL["secrets_after"], *after, _PAGE):
            for tenant_id, owner, sealed in rows:
                if not self._seals.is_current(sealed):
                    count += await self._reseal(tenant_id, owner, sealed)
            after = rows[-1]["tenant_id"], rows[-1]["owner"]
        return count

    async def _reseal(self, tenant_id: str, owner: str, sealed: bytes) -> int:
        try:
            anew = self._seal(tenant_id, owner, self._open(tenant_id, owner, sealed))
        except InterlockError as error:
            _log.error("secrets.unreadable", owner=owner, code=error.code, reason=error.message)
            return 0
        await fetch(self._use, _SQL["reseal"], tenant_id, owner, sealed, anew)
        return 1

    async def drop(self, tenant_id: str, owner: str) -> None:
        await fetch(self._use, _SQL["drop_secret"], tenant_id, owner)

    def _seal(self, tenant_id: str, owner: str, text: str) -> bytes:
        return self._seals.seal(tenant_id, owner, text.encode())

    def _open(self, tenant_id: str, owner: str, sealed: bytes) -> str:
        return self._seals.open(tenant_id, owner, sealed).decode()
