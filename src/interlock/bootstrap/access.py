"""Access as the settings want it: the secrets that API keys are kept under, and the keys that the settings name."""

from __future__ import annotations

import hashlib
import re
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from secrets import token_urlsafe
from uuid import UUID

import msgspec

from interlock.backends.store.postgres.access import PostgresAccess
from interlock.config import Settings
from interlock.core.api_key import WORDS, ApiKey
from interlock.core.errors import ErrorKind, InterlockError
from interlock.core.principal import LOCAL_TENANT, Tier
from interlock.kit.clock import Clock
from interlock.kit.ids import Ids
from interlock.kit.private_file import OpenToOthers, PrivateFile
from interlock.ports.access import AccessStore
from interlock.ports.identity import Identity
from interlock.ports.secrets import Secrets
from interlock.ports.store import Store
from interlock.services.access.bundle import Access, build_access
from interlock.services.access.keys import refuse_unknown_scopes
from interlock.services.models.for_tasks import FindKey

SECRET_FILE = "api-secret"  # noqa: S105 - the name of a file
"""Where a data directory keeps the secret for API keys."""
MIN_KEY_CHARACTERS = 32

_SECRET_BYTES = 48
_HASH = re.compile(r"(?:sha256:)?(?P<hex>[0-9a-f]{64})")


class _Configured(msgspec.Struct, kw_only=True):
    """One entry of the setting. The tenant is the installation's own unless it says another."""

    client_name: str = ""
    scopes: tuple[str, ...] = ()
    rate_limit_tier: Tier = Tier.STANDARD
    active: bool = True
    tenant_id: str = LOCAL_TENANT
    key_hash: str | None = None
    expires_at: datetime | None = None
    allowed_tools: tuple[str, ...] | None = None
    allowed_models: tuple[str, ...] | None = None


async def open_access_store(url: str, stack: AsyncExitStack) -> PostgresAccess:
    """What access keeps, open until ``stack`` ends it."""
    access_store = PostgresAccess(url)
    await access_store.open()
    stack.push_async_callback(access_store.close)
    return access_store


def key_finder(settings: Settings, access_store: AccessStore) -> FindKey:
    """Finds keys by their public ids, those of the settings too."""
    configured = {key.public_id: key for key in read_configured_keys(settings).values()}

    async def find_key(public_id: str) -> ApiKey | None:
        return configured.get(public_id) or await access_store.find_key(public_id)

    return find_key


async def open_access(
    settings: Settings,
    stack: AsyncExitStack,
    *,
    access_store: AccessStore,
    store: Store,
    tokens: Identity,
    secrets: Secrets,
    clock: Clock,
    ids: Ids,
) -> Access:
    """Everything about access, at work until ``stack`` ends it. Raises RULE or UNAVAILABLE for unusable settings."""
    access = build_access(
        access_store=access_store,
        store=store,
        tokens=tokens,
        clock=clock,
        ids=ids,
        peppers=read_peppers(settings),
        environment=WORDS[settings.profile],
        secrets=secrets,
        configured_keys=read_configured_keys(settings),
        audit_days=settings.audit_retention_days,
    )
    await access.gate.refresh()
    access.upkeep.start()
    stack.push_async_callback(access.upkeep.stop)
    return access


def read_peppers(settings: Settings) -> tuple[bytes, ...]:
    """The secrets of the setting, newest first; else the one of the data directory, made at the first start."""
    if settings.api_secret_key is not None:
        return tuple(key.encode() for key in settings.api_secret_key.get_secret_value().split(","))
    file = PrivateFile(settings.data_dir / SECRET_FILE)
    try:
        file.create(token_urlsafe(_SECRET_BYTES).encode())
        content = file.read().strip()
    except (OSError, OpenToOthers) as error:
        raise _unusable(str(file.path), "others may read it" if isinstance(error, OpenToOthers) else error) from error
    if len(content) < MIN_KEY_CHARACTERS:
        raise _unusable(str(file.path), "it is too short")
    return (content,)


def read_configured_keys(settings: Settings) -> dict[bytes, ApiKey]:
    """The keys of ``MCP_API_KEYS`` by the SHA-256 of their text. Raises RULE for an entry that must not be used."""
    if settings.mcp_api_keys is None:
        return {}
    try:
        entries = msgspec.json.decode(settings.mcp_api_keys.get_secret_value(), type=dict[str, _Configured])
    except msgspec.MsgspecError:
        raise _refused("it is no JSON object of keys and their records") from None  # its words may quote a key
    return dict(_configured(number, *entry, settings) for number, entry in enumerate(entries.items(), 1))


def _configured(number: int, text: str, entry: _Configured, settings: Settings) -> tuple[bytes, ApiKey]:
    digest = hashlib.sha256(text.encode()).digest()
    if entry.key_hash is not None:
        found = _HASH.fullmatch(entry.key_hash.lower())
        if found is None:
            raise _refused(f"key_hash of entry {number} is no SHA-256 in hexadecimal digits")
        digest = bytes.fromhex(found["hex"])
    elif len(text) < MIN_KEY_CHARACTERS and not settings.local:
        raise _refused(f"entry {number} needs a key of at least {MIN_KEY_CHARACTERS} characters, or a key_hash")
    if entry.rate_limit_tier is Tier.DEVELOPMENT and not settings.local:
        raise _refused(f"entry {number} has the tier development, which exists in local mode only")
    try:
        refuse_unknown_scopes(entry.scopes)
    except InterlockError as error:
        raise _refused(f"entry {number}: {error.message}") from error
    always = datetime.fromtimestamp(0, UTC)
    key = ApiKey(
        key_id=UUID(bytes=digest[:16]),
        public_id=digest.hex()[:12],
        tenant_id=entry.tenant_id,
        client_name=entry.client_name,
        scopes=entry.scopes,
        tier=entry.rate_limit_tier,
        created_at=always,
        created_by="settings",
        last4="",
        allowed_tools=entry.allowed_tools,
        allowed_models=entry.allowed_models,
        expires_at=entry.expires_at,
        revoked_at=None if entry.active else always,
    )
    return digest, key


def _refused(problem: str) -> InterlockError:
    return InterlockError(
        ErrorKind.RULE,
        "SETTINGS_REFUSED",
        f"MCP_API_KEYS cannot be used: {problem}",
        details={"next": "Mend it, or leave it out and make keys with `interlock keys create`."},
    )


def _unusable(path: str, problem: object) -> InterlockError:
    return InterlockError(
        ErrorKind.UNAVAILABLE,
        "API_SECRET_UNUSABLE",
        f"The secret of API keys in {path} cannot be used: {problem}",
        details={"next": "Make it readable for its owner only, or set API_SECRET_KEY."},
    )
