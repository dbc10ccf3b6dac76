"""The audit log under one caller's claims."""

from __future__ import annotations

from interlock.backends.store.postgres.counting import COUNTED
from interlock.backends.store.postgres.queries import load
from interlock.backends.store.postgres.session import Session
from interlock.core.audit import AuditEntry, AuditFilter, Outcome
from interlock.ports.store import Page

_SQL = load("audit")
_FRAME = load("session")


class AuditQueries:
    """The part of a transaction that reads the audit log. Nobody writes it here."""

    _session: Session

    async def list_audit(self, wanted: AuditFilter) -> Page:
        """Entries, newest first. The total is of all pages, exact up to 10,000 and stays there."""
        values = (wanted.subject, wanted.action, wanted.outcome, wanted.target, wanted.since, wanted.until)
        await self._session.run(_FRAME["plan_by_values"])
        rows = await self._session.rows(_SQL["list_audit"], *values, wanted.before, wanted.limit, wanted.tenant_id)
        total = int(await self._session.value(_SQL["count_audit"], *values, COUNTED, wanted.tenant_id))
        entries = [AuditEntry(**{**dict(row), "outcome": Outcome(row["outcome"])}) for row in rows]
        return Page(entries, total)
