"""Compiled versions, kept by id: compiling happens once per version and process."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from uuid import UUID

from interlock.core.engine.flow.program import FlowProgram
from interlock.core.engine.graph.program import GraphProgram
from interlock.core.engine.program import Program
from interlock.core.node_type import NodeType
from interlock.core.workflow import Definition, GraphDefinition

MAX_KEPT = 1_000


class Programs:
    """A bounded memory of compiled versions; the least recently used goes first."""

    def __init__(self, catalogue: Mapping[str, NodeType]) -> None:
        self._catalogue = catalogue
        self._kept: OrderedDict[UUID, Program] = OrderedDict()

    def find(self, version_id: UUID) -> Program | None:
        """The program if it is kept."""
        program = self._kept.get(version_id)
        if program is not None:
            self._kept.move_to_end(version_id)
        return program

    def compile(self, version_id: UUID, definition: Definition) -> Program:
        """The program of a version. Raises KeyError for a node type that is not installed here."""
        program = self.find(version_id)
        if program is None:
            program = (
                GraphProgram(definition, self._catalogue)
                if isinstance(definition, GraphDefinition)
                else FlowProgram(definition, self._catalogue)
            )
            self._kept[version_id] = program
            if len(self._kept) > MAX_KEPT:
                self._kept.popitem(last=False)
        return program
