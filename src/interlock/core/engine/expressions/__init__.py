"""The expression language: conditions, guards, mappings and texts of workflows.

Pure and bounded: a source is parsed to our own syntax tree with limits on length, depth and parts, compiled to
nested functions, and evaluated with a counted budget of work and size, never by Python's own eval and never with
access to anything but JSON data. ``docs/reference/expressions.md`` is the language for its users.
"""

from __future__ import annotations

from interlock.core.engine.expressions.errors import ExpressionError
from interlock.core.engine.expressions.expression import Expression, parse
from interlock.core.engine.expressions.functions import FUNCTIONS
from interlock.core.engine.expressions.grammar import ROOTS
from interlock.core.engine.expressions.operators import truthy
from interlock.core.engine.expressions.template import Template, compile_errors, compile_template

__all__ = [
    "FUNCTIONS",
    "ROOTS",
    "Expression",
    "ExpressionError",
    "Template",
    "compile_errors",
    "compile_template",
    "parse",
    "truthy",
]
