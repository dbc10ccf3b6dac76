"""Who calls, and what they may do."""

from __future__ import annotations

from enum import StrEnum
from typing import Literal
from uuid import UUID

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
    SESSIONS_READ = "sessions:read"
    SESSIONS_WRITE = "sessions:write"
    APPROVALS_READ = "approvals:read"
    APPROVALS_DECIDE = "approvals:decide"
    BLACKBOARD_READ = "blackboard:read"
    BLACKBOARD_WRITE = "blackboard:write"
    REGISTRY_READ = "registry:read"
    REGISTRY_WRITE = "registry:write"
    DEPLOYMENTS_READ = "deployments:read"
    DEPLOYMENTS_WRITE = "deployments:write"
    MODELS_USE = "models:use"
    SKILLS_READ = "skills:read"
    SKILLS_WRITE = "skills:write"
    FILES_READ = "files:read"
    FILES_WRITE = "files:write"
    TOOLS_READ = "tools:read"
    TOOLS_EXECUTE = "tools:execute"
    HEALTH_CHECK = "health:check"
    CODE_WRITE = "code:write"
    WORKERS_WRITE = "workers:write"
    METRICS_READ = "metrics:read"
    ADMIN = "admin"


class Role(StrEnum):
    """What a person is in the tenant."""

    VIEWER = "viewer"
    MEMBER = "member"
    ADMIN = "admin"


class Tier(StrEnum):
    """Which limits hold: standard, ten times as much, or none (local mode only)."""

    STANDARD = "standard"
    PREMIUM = "premium"
    DEVELOPMENT = "development"


_VIEWER = frozenset(scope for scope in Scope if scope.endswith(":read")) | {Scope.HEALTH_CHECK}
_MEMBER_NOUNS = ("workflows", "executions", "sessions", "files", "tools")
_MEMBER = (
    _VIEWER
    | {scope for scope in Scope if scope.partition(":")[0] in _MEMBER_NOUNS}
    | {
        Scope.APPROVALS_DECIDE,
        Scope.BLACKBOARD_WRITE,
        Scope.REGISTRY_WRITE,
        Scope.DEPLOYMENTS_WRITE,
        Scope.MODELS_USE,
        Scope.SKILLS_WRITE,
    }
)
SCOPES_OF: dict[Role, frozenset[str]] = {
    Role.VIEWER: frozenset(_VIEWER),
    Role.MEMBER: frozenset(_MEMBER),
    Role.ADMIN: frozenset(Scope),
}
"""What a role gives a person; an API key has the scopes it was made with."""

Kind = Literal["user", "guest", "key", "local", "service", "anonymous"]


class Principal(msgspec.Struct, frozen=True):
    """A caller as the credential describes it; nothing else in a request can change the tenant.

    ``key_id`` is the API key behind a principal of kind ``key``, ``payer_id`` the one whose budget it spends. None for
    ``allowed_models`` and ``allowed_tools`` means all. ``actor`` is who is written down as having done it, where a
    caller may say that; it opens nothing.
    """

    subject: str
    tenant_id: str
    scopes: frozenset[str]
    email: str | None = None
    role: str = Role.MEMBER
    kind: Kind = "user"
    tier: Tier = Tier.STANDARD
    key_id: UUID | None = None
    payer_id: UUID | None = None
    allowed_models: frozenset[str] | None = None
    allowed_tools: frozenset[str] | None = None
    actor: str = ""

    @property
    def by(self) -> str:
        """Who is written down as having done it."""
        return self.actor or self.subject

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
