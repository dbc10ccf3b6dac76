"""Nodes of a tenant: those of the house, and those it has registered to be called over HTTP."""

from __future__ import annotations

import re
import secrets as randomness
from typing import Any
from uuid import UUID

import msgspec

from interlock.core.engine.graph.regions import LOOP_TYPES
from interlock.core.errors import ErrorKind, InterlockError, conflict, not_found, rule_broken
from interlock.core.principal import Principal, Scope
from interlock.core.webhook import SECRET_BYTES, key_of, make_secret
from interlock.kit.ids import Ids
from interlock.ports.egress import OWN_HEADERS, CheckUrl
from interlock.ports.node import Registry
from interlock.ports.registry import WebhookNode
from interlock.ports.store import Store
from interlock.ports.webhooks import SigningSecrets, of_headers, of_node
from interlock.services.webhooks.addresses import check_address

NAME = re.compile(r"[A-Za-z0-9_.-]{1,64}")
MAX_NODES = 500
"""Nodes of a tenant."""
MAX_VERSIONS = 2_000
"""Versions of all nodes of a tenant that are kept. Those that no session needs are forgotten within two hours."""
NOT_IN_FLOWS = frozenset({*LOOP_TYPES, "trigger", "webhook"})
"""Node types that mean nothing in a flow, or are named by what they call."""
_OF_MODELS = frozenset({"llm_chat", "llm_embed"})
_NO_MODELS = "This server has no provider of models"
_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,100}")
_HEADER_VALUE = re.compile(r"[\t\x20-\x7e\x80-\xff]{0,4096}")
_MAX_HEADERS = 32


class NodeEntry(msgspec.Struct, frozen=True, kw_only=True):
    """A node as its tenant finds it. ``endpoint`` is None for those of the house.

    ``unavailable`` says why it cannot run here; empty if it can.
    """

    node_id: str
    name: str
    description: str
    param_schema: dict[str, Any]
    endpoint: str | None = None
    timeout_seconds: float | None = None
    unavailable: str = ""


class NodeWish(msgspec.Struct, frozen=True, kw_only=True):
    """A node to register. ``headers`` go with every call and are not shown again; without ``secret`` one is made."""

    node_id: str
    name: str
    endpoint: str
    description: str = ""
    param_schema: dict[str, Any] = {}
    timeout_seconds: float = 3600.0
    headers: dict[str, str] = {}
    secret: str | None = None
    rotate_secret: bool = False


class Registered(msgspec.Struct, frozen=True):
    """A node as stored; ``secret`` only if it is new."""

    node: NodeEntry
    secret: str | None


class RegisterNodes:
    """List, register and forget nodes. Secrets and headers are sealed, beside the node and not in it."""

    def __init__(
        self,
        store: Store,
        registry: Registry,
        secrets: SigningSecrets,
        check_url: CheckUrl,
        ids: Ids,
        *,
        has_models: bool,
    ) -> None:
        self._store = store
        self._has_models = has_models
        self._secrets = secrets
        self._registry = registry
        self._check_url = check_url
        self._ids = ids

    async def list(self, principal: Principal) -> list[NodeEntry]:
        """Those of the house by name, then the tenant's own by id. Raises DENIED."""
        principal.require(Scope.REGISTRY_READ)
        async with self._store.transaction(principal, read_only=True) as transaction:
            nodes = await transaction.list_nodes()
        types = [found for _, found in sorted(self._registry.types.items()) if found.name not in NOT_IN_FLOWS]
        house = [
            NodeEntry(
                node_id=found.name,
                name=found.title,
                description=found.description,
                param_schema=found.schema,
                unavailable=_NO_MODELS if found.name in _OF_MODELS and not self._has_models else "",
            )
            for found in types
        ]
        return house + [_entry(node) for node in nodes]

    async def register(self, principal: Principal, wish: NodeWish) -> Registered:
        """Add or replace a node; sessions that run keep to what it was when they started.

        Raises DENIED, RULE for an id, endpoint, header or secret that cannot be used, CONFLICT for the id of a node
        of the house and beyond ``MAX_NODES``, LIMITED beyond ``MAX_VERSIONS``.
        """
        principal.require(Scope.REGISTRY_WRITE)
        self._check(wish)
        async with self._store.transaction(principal, read_only=True) as transaction:
            before = (await transaction.find_nodes([wish.node_id])).get(wish.node_id)
            if before is None and await transaction.count_nodes() >= MAX_NODES:
                raise conflict("TOO_MANY_NODES", f"A tenant has at most {MAX_NODES} nodes; delete one first")
            has_room = await transaction.count_node_versions() < MAX_VERSIONS
        version_id = await self._version(principal.tenant_id, wish, before, has_room=has_room)
        node = WebhookNode(
            node_id=wish.node_id,
            name=wish.name,
            endpoint=wish.endpoint,
            version_id=version_id,
            description=wish.description,
            param_schema=wish.param_schema,
            timeout_seconds=wish.timeout_seconds,
        )
        secret = await self._put_secret(principal.tenant_id, wish, before)
        async with self._store.transaction(principal) as transaction:
            await transaction.put_node(node)
            if before is None or version_id != before.version_id:
                told = (version_id, node.node_id, node.endpoint, node.timeout_seconds)
                await transaction.add_node_version(*told, has_headers=bool(wish.headers))
        return Registered(_entry(node), secret)

    async def forget(self, principal: Principal, node_id: str) -> None:
        """Forget a node. Its secret proves nothing any more; sessions that run still call it as it was.

        Raises DENIED, NOT_FOUND.
        """
        principal.require(Scope.REGISTRY_WRITE)
        if node_id in self._registry.types:
            raise InterlockError(ErrorKind.DENIED, "AUTHORIZATION_FAILED", f"{node_id[:64]} is a node of the system")
        async with self._store.transaction(principal) as transaction:
            if not await transaction.delete_node(node_id):
                raise unknown_node(node_id)

    def _check(self, wish: NodeWish) -> None:
        check_name("node_id", wish.node_id)
        check_address(self._check_url, "endpoint", wish.endpoint)
        check_headers(wish.headers)
        if wish.secret is not None:
            key_of(wish.secret)
        if wish.node_id in self._registry.types:
            raise conflict("CONFLICT", f"{wish.node_id} is a node of the system; choose another node_id")

    async def _version(self, tenant_id: str, wish: NodeWish, before: WebhookNode | None, *, has_room: bool) -> UUID:
        """The version the node has already if nothing changes that a call needs, else that of a new one.

        Raises LIMITED if there is no room for another one.
        """
        if before is not None and (before.endpoint, before.timeout_seconds) == (wish.endpoint, wish.timeout_seconds):
            kept = await self._secrets.good(tenant_id, of_headers(before.version_id))
            if (msgspec.json.decode(kept[0]) if kept else {}) == wish.headers:
                return before.version_id
        if not has_room:
            raise _too_many_versions()
        version_id = self._ids.new()
        if wish.headers:
            headers = msgspec.json.encode(wish.headers).decode()
            await self._secrets.put(tenant_id, of_headers(version_id), headers)
        return version_id

    async def _put_secret(self, tenant_id: str, wish: NodeWish, before: WebhookNode | None) -> str | None:
        """Keep the caller's secret, or a new one; None if the node goes on with the one it has."""
        owner = of_node(wish.node_id)
        known = await self._secrets.good(tenant_id, owner) if before is not None else ()
        if wish.secret is None and known and not wish.rotate_secret:
            return None
        secret = wish.secret or make_secret(randomness.token_bytes(SECRET_BYTES))
        if secret in known[:1]:
            return None
        await self._secrets.put(tenant_id, owner, secret, keeps_former=before is not None)
        return secret


def check_name(field: str, text: str) -> None:
    """Raise RULE unless an id has the form of ids in the registry."""
    if not NAME.fullmatch(text):
        reason = "must be 1 to 64 letters, digits and _ . -"
        raise _refused(field, reason)


def check_headers(headers: dict[str, str]) -> None:
    """Raise RULE for headers that no request can carry; those that belong to the call itself are never replaced."""
    if len(headers) > _MAX_HEADERS:
        raise _refused("headers", f"must be at most {_MAX_HEADERS}")
    for name, value in headers.items():
        if not _HEADER_NAME.fullmatch(name) or not _HEADER_VALUE.fullmatch(value):
            raise _refused("headers", f"{name[:80]!r} has a name or a value that a header cannot have")
        if name.lower() in OWN_HEADERS:
            raise _refused("headers", f"{name!r} belongs to the connection and cannot be chosen")


def unknown_node(node_id: str) -> InterlockError:
    return not_found("NODE_NOT_FOUND", f"There is no node {node_id[:64]!r}")


def _too_many_versions() -> InterlockError:
    message = f"{MAX_VERSIONS} versions of nodes are kept; those that no session needs are forgotten within two hours"
    return InterlockError(ErrorKind.LIMITED, "TOO_MANY_VERSIONS", message, retryable=True, retry_after=3600.0)


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
