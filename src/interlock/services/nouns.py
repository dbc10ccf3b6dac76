"""The nouns that use cases take and answer with, for the doors, which know no port."""

from __future__ import annotations

from interlock.ports.engine import Key, SignalOutcome, Standing
from interlock.ports.ledger import NodeTotal
from interlock.ports.store import ArtifactRow, EventRecord, ExecutionFilter, ExecutionRow, LogLine, Page

__all__ = [
    "ArtifactRow",
    "EventRecord",
    "ExecutionFilter",
    "ExecutionRow",
    "Key",
    "LogLine",
    "NodeTotal",
    "Page",
    "SignalOutcome",
    "Standing",
]
