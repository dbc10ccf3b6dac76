"""The parameters of one node: plain, its expressions in order, and as the schema of its type wants them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from interlock.core.definition.check_expressions import Expressions
from interlock.core.definition.check_values import Values
from interlock.core.definition.limits import ID, MAX_MISMATCHES
from interlock.core.definition.report import Code, Place, Report, cut, kind_of
from interlock.core.node_type import NodeType

_OPEN, _SHUT = "{{", "}}"
_ABOUT_CONTENT = frozenset({"const", "contains", "enum"})
"""Keywords about what is inside a list or object; others look at its keys, its length or its kind."""


class Mismatch(NamedTuple):
    """A value that its schema does not allow: where, why, and by which keyword. A missing key is in the path.

    Where one of several schemas had to match and none did, ``branches`` say why for each.
    """

    path: tuple[str | int, ...]
    message: str
    keyword: str = ""
    branches: tuple[tuple[Mismatch, ...], ...] = ()


CheckParameters = Callable[[str, dict[str, Any]], Sequence[Mismatch]]
"""The mismatches of parameters (plain JSON of depth 64) with the schema of the node type of a name."""


class ParameterRules:
    """Checks parameters of nodes and of flow states."""

    def __init__(
        self, report: Report, values: Values, expressions: Expressions, check_parameters: CheckParameters
    ) -> None:
        self._report = report
        self._values = values
        self._expressions = expressions
        self._check_parameters = check_parameters

    def check(
        self,
        node_type: NodeType,
        parameters: dict[str, Any],
        place: Place,
        *,
        extra_roots: frozenset[str] = frozenset(),
        is_complete: bool = True,
        is_lenient: bool = False,
    ) -> None:
        """``is_complete``: nothing is added at run time but the data parameter, so that missing keys are wrong.

        ``is_lenient``: parameters that the type does not know are warnings, since the node gets them all the same.
        """
        bare = {key: value for key, value in parameters.items() if key in node_type.expressions}
        rest = {key: value for key, value in parameters.items() if key not in node_type.expressions}
        texts = self._values.check(rest, place)
        if self._values.check(bare, place) is None or texts is None:
            return
        self._expressions.check_template(texts, place, extra_roots=extra_roots)
        wrong = {(key,) for key, value in bare.items() if not self._check_bare(value, place.at(key), node_type)}
        if node_type.name == "subworkflow":
            self._check_child(parameters, place)
        for found in self._check_parameters(node_type.name, parameters)[:MAX_MISMATCHES]:
            is_said = found.path[:1] in wrong or (node_type.name == "subworkflow" and found.path == ("workflow",))
            if not is_said and _is_definite(found, node_type, parameters, is_complete):
                self._add(found, node_type, parameters, place, is_lenient=is_lenient)

    def check_untyped(
        self, parameters: dict[str, Any], place: Place, *, extra_roots: frozenset[str] = frozenset()
    ) -> None:
        """Parameters whose node type is not there or not known: plain, and their placeholders in order."""
        texts = self._values.check(parameters, place)
        self._expressions.check_template(texts or (), place, extra_roots=extra_roots)

    def _check_bare(self, value: Any, place: Place, node_type: NodeType) -> bool:
        """A text is an expression, a list has one per case. False if it is neither."""
        if isinstance(value, list):
            checked = [self._check_case(case, place.at(index), node_type) for index, case in enumerate(value)]
            return all(checked)
        if isinstance(value, str):
            self._expressions.check_bare(value, place)
        elif value is not None:
            message = f"An expression is a text, not {kind_of(value)}"
            self._report.add("EXPRESSION_ERROR", place, message, value=value, hint="write it in quotes")
        return value is None or isinstance(value, str)

    def _check_case(self, case: Any, place: Place, node_type: NodeType) -> bool:
        port, when = (case.get("port"), case.get("when")) if isinstance(case, dict) else (None, None)
        if not isinstance(port, str) or not isinstance(when, str):
            message = "A case needs a port and an expression"
            self._report.add("EXPRESSION_ERROR", place, message, hint="write {port: big, when: data.n > 10}")
            return False
        if not ID.fullmatch(port) or port in node_type.expressions:
            message = f"'{cut(port)}' cannot be the name of a port"
            self._report.add("ID_INVALID", place.at("port"), message, value=port, hint="write a short name")
        self._expressions.check_bare(when, place.at("when"))
        return True

    def _check_child(self, parameters: dict[str, Any], place: Place) -> None:
        workflow = parameters.get("workflow")
        if isinstance(workflow, str) and (_OPEN in workflow or not workflow):
            message = "The workflow of a sub-workflow must be a constant text"
            hint = "write the name or id of a workflow; choose between several with a condition"
            self._report.add("SUBWORKFLOW_NOT_CONSTANT", place.at("workflow"), message, value=workflow, hint=hint)
        elif not isinstance(workflow, str):
            message = f"A sub-workflow needs the name or id of a workflow, not {kind_of(workflow)}"
            self._report.add("SUBWORKFLOW_NOT_CONSTANT", place.at("workflow"), message, value=workflow)

    def _add(
        self, found: Mismatch, node_type: NodeType, parameters: dict[str, Any], place: Place, *, is_lenient: bool
    ) -> None:
        known = node_type.schema.get("properties")
        known = known if isinstance(known, dict) else {}
        name = str(found.path[0]) if found.path else ""
        hint = ""
        if found.keyword == "additionalProperties":
            hint = self._report.nearest(name, known, node_type.name) or f"known: {', '.join(known)}"
        elif isinstance(known.get(name), dict):
            hint = str(known[name].get("description", ""))
        about = f"'{cut(name)}' of {node_type.name}" if name else f"The parameters of {node_type.name}"
        value = _value_at(parameters, found.path)
        is_extra = is_lenient and found.keyword == "additionalProperties" and len(found.path) == 1
        code: Code = "PARAMETER_UNKNOWN" if is_extra else "PARAMETER_INVALID"
        self._report.add(code, place.at(*found.path), f"{about}: {found.message}", value=value, hint=hint)


def _value_at(parameters: Any, path: Sequence[str | int]) -> Any:
    value = parameters
    for step in path:
        try:
            value = value[step]
        except (KeyError, IndexError, TypeError):
            return None
    return value


def _is_definite(found: Mismatch, node_type: NodeType, parameters: dict[str, Any], is_complete: bool) -> bool:
    """Whether a value stays wrong whatever is filled in: by placeholders, by the data parameter, by a session."""
    if found.branches:
        return all(
            any(_is_definite(inner, node_type, parameters, is_complete) for inner in branch)
            for branch in found.branches
        )
    if found.keyword == "required":
        return is_complete and found.path != (node_type.data_parameter,)
    value = _value_at(parameters, found.path)
    if found.keyword == "additionalProperties" or not _holds_placeholder(value):
        return True
    if not isinstance(value, str):
        return found.keyword not in _ABOUT_CONTENT
    is_alone = value.startswith(_OPEN) and value.endswith(_SHUT)
    return found.keyword == "type" and not is_alone  # a placeholder among other text makes a text


def _holds_placeholder(value: Any) -> bool:
    if isinstance(value, str):
        return _OPEN in value
    if isinstance(value, dict):
        return any(map(_holds_placeholder, value.values()))
    return isinstance(value, list | tuple) and any(map(_holds_placeholder, value))
