"""Who may say that a workflow calls users' code."""

from __future__ import annotations

from interlock.core.definition import users_code
from interlock.core.principal import Principal, Scope
from interlock.core.workflow import Definition


def permit_code(principal: Principal, definition: Definition, before: Definition | None = None) -> None:
    """Return if the principal may save a definition with the code it calls.

    What the version ``before`` called already stays in whoever saves it. Raises DENIED.
    """
    known = users_code(before) if before is not None else frozenset()
    if users_code(definition) - known:
        principal.require(Scope.CODE_WRITE)
