"""Names of the blackboard in the parameters of flow states: ``{{ order.total }}`` beside the roots of the language."""

from __future__ import annotations

import re
from typing import Any

_OPEN = "{{"
_NAME = re.compile(r"(?<![$\w])[^\W\d]\w*")


def blackboard_names(value: Any) -> frozenset[str]:
    """Every plain name in the texts with placeholders of a JSON value of bounded depth.

    A superset of the blackboard keys it reads: as ``extra_roots`` of a template it makes each of them a root.
    """
    found: set[str] = set()
    todo = [value]
    while todo:
        item = todo.pop()
        if isinstance(item, str) and _OPEN in item:
            found.update(_NAME.findall(item, item.index(_OPEN)))
        elif isinstance(item, dict):
            todo.extend(item.values())
        elif isinstance(item, list | tuple):
            todo.extend(item)
    return frozenset(found)
