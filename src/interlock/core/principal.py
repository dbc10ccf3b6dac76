"""Who calls, and what they may do."""

from __future__ import annotations

from enum import StrEnum

import msgspec

from interlock.core.errors import ErrorKind, InterlockError

LOCAL_TENANT = "default"


class Scope(StrEnum):
    """Permissions in the form ``noun:verb``; ``admin`` implies all others."""

    WORKFLOWS_READ = "workflows:read"
    WORKFLOWS_WRITE = "workflows:write"
    WORKFLOWS_EXECUTE = "workflows:execute"
    EXECUTIONS_READ = "executions:read"
    EXECUTIONS_SIGNAL = "executions:signal"
    EXECUTIONS_CANCEL = "executions:cancel"
    APPROVALS_READ = "approvals:read"
    APPROVALS_DECIDE = "approvals:decide"
    REGISTRY_READ = "registry:read"
    BLACKBOARD_READ = "blackboard:read"
    BLACKBOARD_WRITE = "blackboard:write"
    METRICS_READ = "metrics:read"
    HEALTH_CHECK = "health:check"
    ADMIN = "admin"


class Principal(msgspec.Struct, frozen=True):
    """A caller as the credential describes it; nothing else in a request can change the tenant."""

    subject: str
    tenant_id: str
    scopes: frozenset[str]
    email: str | None = None
    role: str = "member"
    kind: str = "user"  # user, client, service
    tier: str = "standard"

    def has_scope(self, scope: str) -> bool:
        return scope in self.scopes or Scope.ADMIN in self.scopes

    def require(self, scope: str) -> None:
        """Raise DENIED unless the principal holds ``scope``."""
        if not self.has_scope(scope):
            raise InterlockError(
                ErrorKind.DENIED,
                "AUTHORIZATION_FAILED",
                f"This call needs the scope {scope}",
                details={"required_scopes": [scope], "your_scopes": sorted(self.scopes)},
            )
