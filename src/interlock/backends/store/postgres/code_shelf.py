"""Users' code in the database, sealed: what was changed there, or put there past the server, is never given out."""

from __future__ import annotations

import hashlib

import structlog

from interlock.backends.store.postgres.queries import load
from interlock.backends.store.postgres.webhook_ledger import Use, fetch
from interlock.core.code import MAX_CODE, Code, Form
from interlock.core.errors import ErrorKind, InterlockError, not_found, rule_broken
from interlock.ports.secrets import Secrets

_SQL = load("code")
_PAGE = 500
_log = structlog.get_logger("interlock.code")


class PostgresCodeShelf:
    """Satisfies ``ports.code.CodeShelf`` in table ``interlock.code``.

    A seal is a sealed nothing: what it authenticates is its tenant and its name, which tells form, digest and author.
    """

    def __init__(self, use: Use, seals: Secrets) -> None:
        self._use = use
        self._seals = seals

    async def put(self, tenant_id: str, author: str, form: Form, content: bytes) -> str:
        """Keep a piece of code; committed when it returns. Raises TOO_LARGE over ``MAX_CODE``, UNAVAILABLE.

        What is there and can no longer be given out, is kept anew, with this author.
        """
        if len(content) > MAX_CODE:
            limit = MAX_CODE // 1_048_576
            raise InterlockError(ErrorKind.TOO_LARGE, "CODE_TOO_LARGE", f"Code exceeds {limit} MiB")
        digest = digest_of(form, content)
        seal = self._seals.seal(tenant_id, _name(form, digest, author), b"")
        rows = await fetch(self._use, _SQL["put"], tenant_id, digest, form, author, content, seal)
        if not rows[0]["is_new"] and not await self._is_good(tenant_id, digest):
            await fetch(self._use, _SQL["put_anew"], tenant_id, digest, form, author, content, seal)
        return digest

    async def _is_good(self, tenant_id: str, digest: str) -> bool:
        try:
            await self.get(tenant_id, digest)
        except InterlockError as error:
            if error.code not in ("CODE_SEAL_BROKEN", "SECRET_KEY_UNKNOWN"):
                raise
            return False
        return True

    async def get(self, tenant_id: str, digest: str) -> Code:
        """The code. Raises NOT_FOUND CODE_NOT_FOUND, RULE CODE_SEAL_BROKEN if it was changed since, UNAVAILABLE."""
        rows = await fetch(self._use, _SQL["get"], tenant_id, digest)
        if not rows:
            raise not_found("CODE_NOT_FOUND", f"There is no code {digest[:64]!r}")
        code = Code(digest=digest, form=rows[0]["form"], content=rows[0]["content"], author=rows[0]["author"])
        if digest_of(code.form, code.content) != digest:
            raise _broken(digest)
        try:
            self._seals.open(tenant_id, _name(code.form, digest, code.author), rows[0]["seal"])
        except InterlockError as error:
            if error.code != "SECRET_UNREADABLE":
                raise
            raise _broken(digest) from error
        return code

    async def reseal(self) -> int:
        """Seal anew what an older key sealed, so that it can be thrown away; how many pieces it were.

        A seal that does not open is left as it is, and said. Raises what the database raises.
        """
        count, after = 0, ("", "")
        while rows := await fetch(self._use, _SQL["seals_after"], *after, _PAGE):
            for tenant_id, digest, form, author, seal in rows:
                if not self._seals.is_current(seal):
                    count += await self._reseal(tenant_id, digest, _name(form, digest, author), seal)
            after = rows[-1]["tenant_id"], rows[-1]["digest"]
        return count

    async def _reseal(self, tenant_id: str, digest: str, name: str, seal: bytes) -> int:
        try:
            anew = self._seals.seal(tenant_id, name, self._seals.open(tenant_id, name, seal))
        except InterlockError as error:
            _log.error("code.unreadable", digest=digest, code=error.code, reason=error.message)
            return 0
        await fetch(self._use, _SQL["reseal"], tenant_id, digest, seal, anew)
        return 1


def digest_of(form: Form, content: bytes) -> str:
    """The lower-case hex SHA-256 of a form and its bytes."""
    return hashlib.sha256(form.encode() + b"\0" + content).hexdigest()


def _name(form: Form, digest: str, author: str) -> str:
    return f"code/{form}/{digest}/{author}"


def _broken(digest: str) -> InterlockError:
    return rule_broken("CODE_SEAL_BROKEN", f"The code {digest} was changed in the store, and is not run; save it again")
