"""Definitions: reading what an author wrote, saying everything that is wrong with it, naming and drawing it.

Pure, in time that grows with the size of the source, and with limits that are checked first. The schema of a node
type's parameters is checked by a function that is passed in. ``docs/reference/definitions.md`` is the form for authors.
"""

from __future__ import annotations

from interlock.core.definition.check_definition import Verdict, check_definition, validate_definition
from interlock.core.definition.check_graph import ports_of
from interlock.core.definition.check_parameters import CheckParameters, Mismatch
from interlock.core.definition.digest import digest
from interlock.core.definition.draw import Arrow, Box, Picture, draw
from interlock.core.definition.read_definition import Heading, read_definition, read_heading
from interlock.core.definition.read_flow import node_reference
from interlock.core.definition.report import WARNINGS, Code, is_warning
from interlock.core.definition.users_code import users_code

__all__ = [
    "WARNINGS",
    "Arrow",
    "Box",
    "CheckParameters",
    "Code",
    "Heading",
    "Mismatch",
    "Picture",
    "Verdict",
    "check_definition",
    "digest",
    "draw",
    "is_warning",
    "node_reference",
    "ports_of",
    "read_definition",
    "read_heading",
    "users_code",
    "validate_definition",
]
