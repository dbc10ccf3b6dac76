"""The nouns that use cases take and answer with, for the doors, which know no port."""

from __future__ import annotations

from interlock.ports.engine import Key, SignalOutcome, Standing
from interlock.ports.registry import WebhookNode
from interlock.ports.store import ArtifactRow, EventRecord, ExecutionFilter, ExecutionRow, Page

__all__ = [
    "ArtifactRow",
    "EventRecord",
    "ExecutionFilter",
    "ExecutionRow",
    "Key",
    "Page",
    "SignalOutcome",
    "Standing",
    "WebhookNode",
]
