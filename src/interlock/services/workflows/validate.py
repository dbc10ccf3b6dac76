"""Check a definition as a whole, before anything is stored."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from interlock.core.definition import CheckParameters, check_definition, is_warning, read_definition
from interlock.core.errors import InterlockError, rule_broken
from interlock.core.principal import Principal, Scope
from interlock.core.workflow import Definition, Problem
from interlock.ports.node import Registry


class Checked(msgspec.Struct, frozen=True, kw_only=True):
    """A definition and everything wrong with it; ``definition`` is None if there are errors."""

    definition: Definition | None
    errors: Sequence[Problem]
    warnings: Sequence[Problem]


class ValidateDefinitions:
    """Read and check definitions in the native form."""

    def __init__(self, registry: Registry, check_parameters: CheckParameters) -> None:
        self._registry = registry
        self._check_parameters = check_parameters

    def __call__(self, principal: Principal, source: Any, found: Sequence[Problem] = ()) -> Checked:
        """All problems at once, after those that a door ``found`` when it translated the source. Raises DENIED."""
        principal.require(Scope.WORKFLOWS_READ)
        return self.check(source, found)

    def check(self, source: Any, found: Sequence[Problem] = ()) -> Checked:
        """The same for a caller whose scope was checked already."""
        definition, problems = read_definition(source)
        problems = [*found, *problems]
        if definition is not None:
            known = {problem.path for problem in found}
            checked = check_definition(definition, self._registry.types, check_parameters=self._check_parameters)
            problems += [problem for problem in checked if problem.path not in known]
        errors = [problem for problem in problems if not is_warning(problem)]
        return Checked(
            definition=None if errors else definition,
            errors=errors,
            warnings=[problem for problem in problems if is_warning(problem)],
        )

    def require(self, source: Any, found: Sequence[Problem] = ()) -> tuple[Definition, Sequence[Problem]]:
        """The definition with its warnings. Raises RULE ``WORKFLOW_INVALID`` with all errors."""
        checked = self.check(source, found)
        if checked.definition is None:
            raise invalid_definition(checked.errors)
        return checked.definition, checked.warnings


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
