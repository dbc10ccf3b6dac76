"""What the tests of the sandbox share: a shelf in memory, walls, and a way to run a text."""

from __future__ import annotations

import textwrap
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import pytest

from conformance.executor_trial import Submitted, Trial
from interlock.backends.executor.sandbox.walls import Walls, find_walls
from interlock.backends.store.postgres.code_shelf import digest_of
from interlock.core.code import Code, Form
from interlock.core.errors import not_found


@cache
def good_walls() -> Walls:
    """All walls; where they cannot be had, the test is left out."""
    walls = find_walls("bwrap", is_local=True)
    if walls.mode is None:
        pytest.skip(f"no sandbox: {walls.reason}")
    return walls


class NoCode:
    """A shelf without code."""

    async def put(self, tenant_id: str, author: str, form: Form, content: bytes) -> str:
        raise AssertionError("nothing is put here")

    async def get(self, tenant_id: str, digest: str) -> Code:
        raise not_found("CODE_NOT_FOUND", digest)


@dataclass
class KeptCode:
    """A shelf in memory."""

    pieces: dict[tuple[str, str], Code] = field(default_factory=dict)

    async def put(self, tenant_id: str, author: str, form: Form, content: bytes) -> str:
        digest = digest_of(form, content)
        self.pieces[tenant_id, digest] = Code(digest=digest, form=form, content=content, author=author)
        return digest

    async def get(self, tenant_id: str, digest: str) -> Code:
        if (tenant_id, digest) not in self.pieces:
            raise not_found("CODE_NOT_FOUND", digest)
        return self.pieces[tenant_id, digest]


@dataclass
class Cellblock:
    """An executor of users' code under test."""

    trial: Trial
    shelf: KeptCode

    async def submit(self, text: str | bytes, arguments: Any = None, **changes: Any) -> Submitted:
        """Submit a call of a function: of a text (``form`` source), or of a pickle."""
        form: Form = "source" if isinstance(text, str) else "pickle"
        content = textwrap.dedent(text).encode() if isinstance(text, str) else text
        digest = await self.shelf.put(changes.get("tenant_id", "tenant"), "ann", form, content)
        more = changes.pop("parameters", {})
        given = {"code": digest, "form": form, "arguments": arguments or {}, **more}
        return self.trial.submit("code", given, **changes)

    async def run(self, text: str | bytes, arguments: Any = None, **changes: Any) -> Any:
        """The output of a call; its error as (code, message) if there is one."""
        result = await (await self.submit(text, arguments, **changes)).end()
        error = getattr(result, "error", None)
        return (error.code, error.message) if error is not None else result.output
