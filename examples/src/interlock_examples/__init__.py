"""The worked example: a workflow over a real data set, and the functions it calls."""

from __future__ import annotations

from importlib.resources import files
from typing import Any

import yaml


def workflow_source() -> dict[str, Any]:
    """The example workflow as its author wrote it: the value of ``workflow.yaml``."""
    source: dict[str, Any] = yaml.safe_load(files(__name__).joinpath("workflow.yaml").read_text(encoding="utf-8"))
    return source


def workflow_input() -> dict[str, Any]:
    """What the example is started with: more flagged airports than this, and a person is asked."""
    return {"max_flagged": 25}
