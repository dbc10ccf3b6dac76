"""The node types: a folder each, with ``node.py`` and its tests beside it.

A folder holds either ``NODE`` (a task type: data about itself in ``type``, and ``run``) or ``TYPE`` (a kernel type:
its schema and words are here, its meaning is in the engine). Adding a folder is all there is to adding a type:
the catalogue, the checks of definitions, the doors and the reference find it by ``load``. A node knows the ports
it is given, and neither services nor stores nor other nodes.
"""

from __future__ import annotations

from interlock.nodes.registry import NodeRegistry, load

__all__ = ["NodeRegistry", "load"]
