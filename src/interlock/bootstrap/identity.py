"""Who checks tokens on this server: the built-in directory, or the one issuer that the settings name."""

from __future__ import annotations

from contextlib import AsyncExitStack
from dataclasses import dataclass
from urllib.parse import urlsplit

import structlog

from interlock.backends.egress.client import GuardedEgress
from interlock.backends.identity.argon2id import Argon2Passwords
from interlock.backends.identity.by_issuer import IdentityByIssuer
from interlock.backends.identity.confirmation import ByClaim, ByIssuer
from interlock.backends.identity.directory import DirectoryIdentity
from interlock.backends.identity.issued import IssuedTokens, SecretTokens
from interlock.backends.identity.issuer import Confirmation, IssuerIdentity, KeySource
from interlock.backends.identity.key_set import KeySet, SharedSecret
from interlock.backends.identity.local import ISSUER as LOCAL_ISSUER
from interlock.backends.identity.local import LocalIdentity
from interlock.backends.mail.smtp import SmtpMail
from interlock.backends.store.postgres.users import PostgresAccounts
from interlock.bootstrap.checks import takes_local_tokens
from interlock.config import Settings
from interlock.core.errors import ErrorKind, InterlockError
from interlock.kit.clock import Clock
from interlock.kit.hosts import in_url, is_loopback
from interlock.kit.ids import Ids
from interlock.ports.access_tokens import AccessTokens
from interlock.ports.accounts import Accounts
from interlock.ports.identity import Identity
from interlock.ports.secrets import Secrets
from interlock.services.identity.bundle import DirectoryServices, build_directory
from interlock.services.identity.confirm import ConfirmAddresses
from interlock.setting_values import is_guessable

ISSUER = "interlock"
"""What tokens of the built-in directory name as their issuer unless a setting says otherwise."""
_ANYWHERE = ("0.0.0.0/0", "::/0")
_MIN_SECRET_BYTES = 32
_log = structlog.get_logger("interlock.identity")


@dataclass(frozen=True)
class Identities:
    """What checks tokens, and the directory if there is one here."""

    identity: Identity
    directory: DirectoryServices | None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Issuer:
    """An external issuer as the settings describe it."""

    name: str
    secret: str | None
    keys_url: str | None
    asks_issuer: bool


def open_identities(
    settings: Settings,
    local: LocalIdentity,
    serve_url: str,
    clock: Clock,
    ids: Ids,
    stack: AsyncExitStack,
    secrets: Secrets,
) -> Identities:
    """The identities of this server. Raises RULE for settings that do not fit together.

    ``local`` is opened, and believed, only where its tokens are needed.
    """
    issuer = _external(settings)
    if issuer is None:
        return _built_in(settings, local, serve_url, clock, ids, stack, secrets)
    # Only addresses from the settings are called with it, so they may lie in a private network.
    egress = GuardedEgress(_ANYWHERE)
    stack.push_async_callback(egress.close)
    keys: KeySource
    if issuer.secret is not None:
        keys = SharedSecret(issuer.secret)
    else:
        url = issuer.keys_url or f"{issuer.name}/.well-known/jwks.json"
        _require_https(settings, "INTERLOCK_JWKS_URL" if settings.jwks_url else "INTERLOCK_SUPABASE_URL", url)
        keys = KeySet(url, egress, clock, algorithm=settings.jwt_algorithm)
    confirmation: Confirmation = ByIssuer(issuer.name, _api_key(settings), egress) if issuer.asks_issuer else ByClaim()
    external = IssuerIdentity(
        issuer.name, settings.jwt_audience, keys, confirmation, clock, allows_guests=settings.allow_guests
    )
    return Identities(_believing(settings, local, {issuer.name: external}), None)


def _believing(settings: Settings, local: LocalIdentity, others: dict[str, Identity]) -> IdentityByIssuer:
    if not takes_local_tokens(settings):
        return IdentityByIssuer(others)
    local.open()
    return IdentityByIssuer({LOCAL_ISSUER: local, **others})


def _built_in(
    settings: Settings,
    local: LocalIdentity,
    serve_url: str,
    clock: Clock,
    ids: Ids,
    stack: AsyncExitStack,
    secrets: Secrets,
) -> Identities:
    name = settings.jwt_issuer or ISSUER
    tokens = _tokens(settings, name, clock)
    accounts = PostgresAccounts(serve_url)
    accounts.open()
    stack.push_async_callback(accounts.close)
    confirms = settings.local if settings.auto_confirm_email is None else settings.auto_confirm_email
    confirm = _confirm(settings, accounts, clock, secrets, stack)
    directory = build_directory(
        accounts, Argon2Passwords(), tokens, clock, ids, confirms_at_once=confirms, confirm=confirm
    )
    people = DirectoryIdentity(tokens, accounts, clock)
    return Identities(_believing(settings, local, {name: people}), directory)


def _confirm(
    settings: Settings, accounts: Accounts, clock: Clock, secrets: Secrets, stack: AsyncExitStack
) -> ConfirmAddresses | None:
    """What mails links to new addresses; None without a mail server."""
    if settings.smtp_url is None:
        return None
    public_url = settings.public_url or f"http://{in_url(settings.host)}:{settings.port}"
    mail = SmtpMail(settings.smtp_url.get_secret_value())
    confirm = ConfirmAddresses(accounts, mail, clock, secrets, public_url)
    stack.push_async_callback(confirm.close)
    return confirm


def _tokens(settings: Settings, issuer: str, clock: Clock) -> AccessTokens:
    """Tokens signed with the key of the settings, else with keys of the data directory."""
    if settings.jwt_secret_key is not None and not _is_of_another(settings):
        if settings.jwt_algorithm not in (None, "HS256"):
            raise _refused("INTERLOCK_JWT_SECRET_KEY is for HS256; leave one of it and INTERLOCK_JWT_ALGORITHM out")
        return SecretTokens(settings.jwt_secret_key.get_secret_value(), clock, issuer, settings.jwt_audience)
    if settings.jwt_algorithm not in (None, "ES256"):
        raise _refused("The built-in directory signs with ES256, or with HS256 if it has INTERLOCK_JWT_SECRET_KEY")
    tokens = IssuedTokens(settings.data_dir, clock, issuer, settings.jwt_audience)
    tokens.open()
    return tokens


def _is_of_another(settings: Settings) -> bool:
    """Whether local mode found a key that is too easy to guess; elsewhere the start was refused because of it."""
    key = settings.jwt_secret_key
    is_weak = settings.local and key is not None and is_guessable(key.get_secret_value())
    if is_weak:
        _log.warning(
            "identity.key_not_used",
            name="JWT_SECRET_KEY",
            meaning="it is too easy to guess; tokens are signed with a key of the data directory",
        )
    return is_weak


def _external(settings: Settings) -> _Issuer | None:
    """The issuer that the settings name, or None for the built-in directory."""
    if settings.supabase_url is not None:
        url = settings.supabase_url.rstrip("/")
        _require_https(settings, "INTERLOCK_SUPABASE_URL", url)
        return _Issuer(
            name=settings.jwt_issuer or f"{url}/auth/v1",
            secret=_secret(settings, "supabase_jwt_secret"),
            keys_url=settings.jwks_url,
            asks_issuer=True,
        )
    if settings.jwt_issuer is None:
        if settings.jwks_url is not None:
            raise _refused("INTERLOCK_JWKS_URL is set without INTERLOCK_JWT_ISSUER, so nobody is named to believe")
        return None
    secret = _secret(settings, "jwt_secret_key")
    if secret is None and settings.jwks_url is None:
        return None
    return _Issuer(name=settings.jwt_issuer, secret=secret, keys_url=settings.jwks_url, asks_issuer=False)


def _secret(settings: Settings, field: str) -> str | None:
    """The shared secret of an issuer, which then signs with HS256 and nothing else."""
    found = getattr(settings, field)
    name = f"INTERLOCK_{field.upper()}"
    if found is None:
        if settings.jwt_algorithm == "HS256":
            raise _refused(f"INTERLOCK_JWT_ALGORITHM=HS256 needs the issuer's secret in {name}")
        return None
    if settings.jwt_algorithm not in (None, "HS256") or settings.jwks_url is not None:
        raise _refused(f"{name} is for HS256; leave it out where the issuer has public keys")
    secret = str(found.get_secret_value())
    if len(secret.encode()) < _MIN_SECRET_BYTES:
        raise _refused(f"{name} is shorter than {_MIN_SECRET_BYTES} bytes, which is too easy to guess")
    return secret


def _api_key(settings: Settings) -> str:
    found = settings.supabase_anon_key or settings.supabase_secret_key
    if found is None:
        raise _refused(
            "INTERLOCK_SUPABASE_ANON_KEY is missing: the project is asked with it whether an address is confirmed"
        )
    return found.get_secret_value()


def _require_https(settings: Settings, name: str, url: str) -> None:
    parts = urlsplit(url)
    is_near = is_loopback(parts.hostname or "") or settings.profile in ("local", "development")
    if not parts.hostname or parts.scheme not in (("https", "http") if is_near else ("https",)):
        raise _refused(f"{name} must begin with https:// and name a host; whoever can change the answer could log in")


def _refused(message: str) -> InterlockError:
    return InterlockError(
        ErrorKind.RULE,
        "SETTINGS_IDENTITY",
        message,
        details={"next": "docs/how-to/connect-supabase.md shows which settings belong together."},
    )
