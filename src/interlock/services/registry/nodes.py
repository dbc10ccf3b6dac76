"""Nodes of a tenant: those of the house, and those it has registered to be called over HTTP."""

from __future__ import annotations

import base64
import re
import secrets
from typing import Any
from urllib.parse import urlsplit

import msgspec

from interlock.core.engine.graph.regions import LOOP_TYPES
from interlock.core.errors import ErrorKind, InterlockError, conflict, not_found, rule_broken
from interlock.core.principal import Principal, Scope
from interlock.ports.node import Registry
from interlock.ports.registry import WebhookNode
from interlock.ports.store import Store
from interlock.ports.webhooks import SigningSecrets, of_node

NAME = re.compile(r"[A-Za-z0-9_.-]{1,64}")
_NOT_IN_FLOWS = frozenset({*LOOP_TYPES, "trigger", "webhook"})
"""Node types that mean nothing in a flow, or are named by what they call."""
_SECRET_BYTES = 24
_PREFIX = "whsec_"


class NodeEntry(msgspec.Struct, frozen=True, kw_only=True):
    """A node as its tenant finds it. ``endpoint`` is None for those of the house."""

    node_id: str
    name: str
    description: str
    param_schema: dict[str, Any]
    endpoint: str | None = None
    timeout_seconds: float | None = None


class Registered(msgspec.Struct, frozen=True):
    """A node as stored; ``secret`` only if it is new."""

    node: NodeEntry
    secret: str | None


class RegisterNodes:
    """List, register and forget nodes."""

    def __init__(self, store: Store, registry: Registry, secrets: SigningSecrets) -> None:
        self._store = store
        self._secrets = secrets
        self._registry = registry

    async def list(self, principal: Principal) -> list[NodeEntry]:
        """Those of the house by name, then the tenant's own by id. Raises DENIED."""
        principal.require(Scope.REGISTRY_READ)
        async with self._store.transaction(principal, read_only=True) as transaction:
            nodes = await transaction.list_nodes()
        types = [found for _, found in sorted(self._registry.types.items()) if found.name not in _NOT_IN_FLOWS]
        house = [
            NodeEntry(node_id=found.name, name=found.title, description=found.description, param_schema=found.schema)
            for found in types
        ]
        return house + [_entry(node) for node in nodes]

    async def register(self, principal: Principal, node: WebhookNode, *, rotate_secret: bool) -> Registered:
        """Add or replace a node. Without a secret of the caller's one is made, once.

        Raises DENIED, RULE for an id, endpoint or secret that cannot be used, CONFLICT for the id of a node of the
        house.
        """
        principal.require(Scope.REGISTRY_WRITE)
        check_name("node_id", node.node_id)
        check_endpoint(node.endpoint)
        if node.node_id in self._registry.types:
            raise conflict("CONFLICT", f"{node.node_id} is a node of the system; choose another node_id")
        owner = of_node(node.node_id)
        known = await self._secrets.good(principal.tenant_id, owner)
        secret = node.secret or (new_secret() if rotate_secret or not known else None)
        if secret is not None:
            _check_secret(secret)
        async with self._store.transaction(principal) as transaction:
            stored = await transaction.put_node(msgspec.structs.replace(node, secret=""), rotate_secret=False)
        if secret is None or secret in known[:1]:
            return Registered(_entry(stored), None)
        await self._secrets.put(principal.tenant_id, owner, secret)  # sealed, beside the node and not in it
        return Registered(_entry(stored), secret)

    async def forget(self, principal: Principal, node_id: str) -> None:
        """Forget a node; sessions that run keep what they need. Raises DENIED, NOT_FOUND."""
        principal.require(Scope.REGISTRY_WRITE)
        if node_id in self._registry.types:
            raise InterlockError(ErrorKind.DENIED, "AUTHORIZATION_FAILED", f"{node_id[:64]} is a node of the system")
        async with self._store.transaction(principal) as transaction:
            is_gone = await transaction.delete_node(node_id)
        if not is_gone:
            raise unknown_node(node_id)
        await self._secrets.drop(principal.tenant_id, of_node(node_id))


def check_name(field: str, text: str) -> None:
    """Raise RULE unless an id has the form of ids in the registry."""
    if not NAME.fullmatch(text):
        reason = "must be 1 to 64 letters, digits and _ . -"
        raise _refused(field, reason)


def check_endpoint(endpoint: str) -> None:
    """Raise RULE unless it is an address that could be called; whether it may be is looked at when it is."""
    try:
        parts = urlsplit(endpoint)
        is_good = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        is_good = False
    else:
        is_good = is_good and "@" not in parts.netloc and not re.search(r"[\s\\\x00-\x1f\x7f]", endpoint)
    if not is_good:
        raise _refused("endpoint", "must be an http or https address without user name and password")


def new_secret() -> str:
    """A signing secret in the form of Standard Webhooks."""
    return _PREFIX + base64.b64encode(secrets.token_bytes(_SECRET_BYTES)).decode()


def unknown_node(node_id: str) -> InterlockError:
    return not_found("NODE_NOT_FOUND", f"There is no node {node_id[:64]!r}")


def _check_secret(secret: str) -> None:
    try:
        size = len(base64.b64decode(secret.removeprefix(_PREFIX), validate=True))
    except ValueError:
        size = 0
    if not secret.startswith(_PREFIX) or not _SECRET_BYTES <= size <= 64:
        raise _refused("secret", "must be whsec_ and 24 to 64 bytes in base64; leave it out to have one made")


def _refused(field: str, reason: str) -> InterlockError:
    return rule_broken(
        "VALIDATION_ERROR",
        f"{field}: {reason}",
        field=field,
        reason=reason,
        errors=[{"field": field, "reason": reason}],
    )


def _entry(node: WebhookNode) -> NodeEntry:
    return NodeEntry(
        node_id=node.node_id,
        name=node.name,
        description=node.description,
        param_schema=node.param_schema,
        endpoint=node.endpoint,
        timeout_seconds=node.timeout_seconds,
    )
