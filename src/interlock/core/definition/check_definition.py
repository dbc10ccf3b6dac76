"""Whether a definition can be compiled and run, and if not, everything that is in the way."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import msgspec

from interlock.core.definition.check_flow import check_flow
from interlock.core.definition.check_graph import check_graph
from interlock.core.definition.check_parameters import CheckParameters
from interlock.core.definition.read_definition import Heading, read_source
from interlock.core.definition.report import Report, is_warning
from interlock.core.node_type import NodeType
from interlock.core.workflow import Definition, GraphDefinition, Problem


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """What is to be said of a source. The definition is there exactly if there are no errors."""

    definition: Definition | None
    heading: Heading
    errors: tuple[Problem, ...]
    warnings: tuple[Problem, ...]


def check_definition(
    definition: Definition, catalogue: Mapping[str, NodeType], *, check_parameters: CheckParameters
) -> list[Problem]:
    """All problems of a definition at once, at most 500, warnings among them (``is_warning``). Never raises.

    One without errors compiles for this catalogue.
    """
    report = Report()
    _check(definition, catalogue, check_parameters, report, {})
    return report.problems


def validate_definition(
    source: Any,
    catalogue: Mapping[str, NodeType],
    *,
    check_parameters: CheckParameters,
    kind: Literal["graph", "flow"] | None = None,
) -> Verdict:
    """Read and check a source in one go: what can be read is checked even if other parts cannot. Never raises."""
    report = Report()
    definition, heading = read_source(source, kind, report)
    report.close_reading()
    if definition is not None:
        _check(definition, catalogue, check_parameters, report, _written(source))
    errors = tuple(report.errors)
    warnings = tuple(problem for problem in report.problems if is_warning(problem))
    return Verdict(definition=None if errors else definition, heading=heading, errors=errors, warnings=warnings)


def _check(
    definition: Definition,
    catalogue: Mapping[str, NodeType],
    check_parameters: CheckParameters,
    report: Report,
    written: Mapping[str, str],
) -> None:
    if isinstance(definition, GraphDefinition):
        check_graph(definition, catalogue, check_parameters, report)
    else:
        check_flow(definition, catalogue, check_parameters, report, written)


def _written(source: Any) -> dict[str, str]:
    """The node references of a flow as they are spelled."""
    found = source.get("state_node_map") if isinstance(source, dict) else None
    return {key: text for key, text in found.items() if isinstance(text, str)} if isinstance(found, dict) else {}
