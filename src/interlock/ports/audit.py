"""Where the audit log is written. It is read under its reader's claims, through ``ports.store``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from interlock.core.audit import AuditEntry


class AuditTrail(Protocol):
    """Takes entries of all tenants and changes none. Raises UNAVAILABLE or TIMEOUT if it does not answer."""

    async def write_audit(self, entries: Sequence[AuditEntry]) -> None:
        """Append to the audit log, all or nothing; entries that are there already are left as they are."""
        ...

    async def purge_audit(self, days: int, at_most: int) -> int:
        """Delete entries of the audit log that are older than ``days``, 30 or more; how many it were."""
        ...
