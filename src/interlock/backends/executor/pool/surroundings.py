"""What a child tells its functions by the environment; nothing of it is a setting of ours."""

from __future__ import annotations

import os
from collections.abc import Mapping


def told(name: str) -> str | None:
    """What the name stands for now."""
    return os.environ.get(name)


def tell(names: Mapping[str, str | None]) -> None:
    """Set names for what is called next; None takes one away."""
    for name, value in names.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value
