"""Check a definition as a whole, before anything is stored."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import msgspec

from interlock.core.definition import CheckParameters, Verdict, validate_definition
from interlock.core.errors import InterlockError, rule_broken
from interlock.core.principal import Principal, Scope
from interlock.core.workflow import Definition, Problem
from interlock.ports.node import Registry
from interlock.services.workflows.draft import Draft, Echoes

_STEP = re.compile(r"[.\[]|$")  # where a step of a path ends


class ValidateDefinitions:
    """Read and check definitions in the native form."""

    def __init__(self, registry: Registry, check_parameters: CheckParameters) -> None:
        self._registry = registry
        self._check_parameters = check_parameters

    def __call__(
        self, principal: Principal, source: Any, found: Sequence[Problem] = (), echoes: Echoes = frozenset()
    ) -> Verdict:
        """All problems at once, after those that a door ``found`` when it translated the source. Raises DENIED.

        Of what the checks say only ``echoes`` are left out: they would tell the cause of a found problem again.
        """
        principal.require(Scope.WORKFLOWS_READ)
        return self._check(source, found, echoes)

    def require(self, draft: Draft) -> tuple[Definition, tuple[Problem, ...]]:
        """The definition, with all warnings about it. Raises RULE ``WORKFLOW_INVALID`` with all errors."""
        verdict = self._check(draft.native, draft.found, draft.echoes)
        if verdict.definition is None:
            raise invalid_definition(verdict.errors)
        return verdict.definition, (*draft.warnings, *verdict.warnings)

    def _check(self, source: Any, found: Sequence[Problem], echoes: Echoes) -> Verdict:
        verdict = validate_definition(source, self._registry.types, check_parameters=self._check_parameters)
        if not found:
            return verdict
        own = [error for error in verdict.errors if not _is_echo(error, echoes)]
        return msgspec.structs.replace(verdict, definition=None, errors=(*found, *own))


def _is_echo(error: Problem, echoes: Echoes) -> bool:
    return any((error.code, error.path[: step.start()]) in echoes for step in _STEP.finditer(error.path))


def invalid_definition(errors: Sequence[Problem]) -> InterlockError:
    """What a caller is told of a definition with errors: how many, the first in words, all in the details."""
    first = errors[0]
    place = f" at {first.path}" if first.path else ""
    more = f" (and {len(errors) - 1} more)" if len(errors) > 1 else ""
    return rule_broken(
        "WORKFLOW_INVALID",
        f"The definition is not valid{place}: {first.message}{more}",
        errors=[msgspec.to_builtins(error) for error in errors],
    )
