"""Take code that a user sends. It is bytes here: nothing of it is compiled, imported or unpickled."""

from __future__ import annotations

from collections.abc import Callable

from interlock.core.code import Form
from interlock.core.errors import ErrorKind, InterlockError, invalid
from interlock.core.principal import Principal, Scope
from interlock.ports.code import CodeShelf


class SaveCode:
    """Keeps users' code, if this server runs any.

    ``is_enabled`` says whether the operator lets users run code, ``has_sandbox`` whether this machine can hold it.
    ``announce`` hears of every piece, which is likely to be called soon.
    """

    def __init__(
        self, shelf: CodeShelf, *, is_enabled: bool, has_sandbox: bool, announce: Callable[[], None] = lambda: None
    ) -> None:
        self._announce = announce
        self._shelf = shelf
        self._is_enabled = is_enabled
        self._has_sandbox = has_sandbox

    def permit(self, principal: Principal) -> None:
        """Return if the principal may have code run here.

        Raises DENIED where that is switched off or the scope is missing, UNAVAILABLE SANDBOX_UNAVAILABLE.
        """
        if not self._is_enabled:
            message = "Code execution is disabled on this server"
            raise InterlockError(ErrorKind.DENIED, "AUTHORIZATION_FAILED", message)
        principal.require(Scope.CODE_WRITE)
        if not self._has_sandbox:
            raise InterlockError(
                ErrorKind.UNAVAILABLE,
                "SANDBOX_UNAVAILABLE",
                "This server has no sandbox to run code in; `interlock doctor` says why",
                retry_after=60.0,
            )

    async def __call__(self, principal: Principal, form: Form, content: bytes) -> str:
        """The digest of the code, which is durable then.

        Raises what ``permit`` raises, INVALID CODE_EMPTY, TOO_LARGE CODE_TOO_LARGE, UNAVAILABLE.
        """
        self.permit(principal)
        if not content:
            raise invalid("CODE_EMPTY", "The code is empty; send the text of a function, or its pickle")
        self._announce()
        return await self._shelf.put(principal.tenant_id, principal.by, form, content)
