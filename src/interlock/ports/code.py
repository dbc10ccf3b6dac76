"""Users' code: stored sealed, and given only to what runs it in the sandbox of its tenant."""

from __future__ import annotations

from typing import Protocol

from interlock.core.code import Code, Form


class CodeShelf(Protocol):
    """Opaque pieces of code by (tenant, digest)."""

    async def put(self, tenant_id: str, author: str, form: Form, content: bytes) -> str:
        """Keep a piece of code, durable when this returns; its digest comes back. The same twice is one piece."""
        ...

    async def get(self, tenant_id: str, digest: str) -> Code:
        """The code. Raises InterlockError NOT_FOUND, and RULE CODE_SEAL_BROKEN if it is not what was stored."""
        ...
