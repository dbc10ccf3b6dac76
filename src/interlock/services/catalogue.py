"""The node types that workflows can use here."""

from __future__ import annotations

from collections.abc import Mapping

from interlock.core.node_type import NodeType
from interlock.core.principal import Principal, Scope
from interlock.ports.node import Registry


class ListNodeTypes:
    """Show the registry."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry

    def __call__(self, principal: Principal) -> Mapping[str, NodeType]:
        """All node types by name. Raises DENIED."""
        principal.require(Scope.REGISTRY_READ)
        return self._registry.types

    @property
    def types(self) -> Mapping[str, NodeType]:
        """The same for the translation of definitions, which shows nothing."""
        return self._registry.types
