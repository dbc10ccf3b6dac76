"""Names for the ids, so that a type checker keeps them apart."""

from __future__ import annotations

from typing import NewType
from uuid import UUID

ExecutionId = NewType("ExecutionId", UUID)
WorkflowId = NewType("WorkflowId", UUID)
VersionId = NewType("VersionId", UUID)
ApprovalId = NewType("ApprovalId", UUID)
RunnerId = NewType("RunnerId", int)
