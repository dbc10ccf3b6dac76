"""The settings: read once, checked whole, immutable afterwards. Nothing else looks at the environment."""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, get_args
from urllib.parse import urlsplit

from dotenv import dotenv_values
from pydantic import AliasChoices, Field, SecretStr, ValidationError, field_validator
from pydantic_settings import NoDecode, SettingsConfigDict

from interlock.blob_settings import BlobSettings
from interlock.compute_settings import ComputeSettings
from interlock.identity_settings import IdentitySettings
from interlock.kit import failpoints
from interlock.limit_settings import LimitSettings
from interlock.metrics_settings import MetricsSettings
from interlock.model_settings import ModelSettings
from interlock.placing_settings import PlacingSettings
from interlock.profile_settings import ProfileSettings
from interlock.sandbox_settings import SandboxSettings
from interlock.secret_files import ENDING, read_secret_files
from interlock.setting_values import KEY_BYTES, MAKE_A_KEY, entries, host_name, is_guessable, refuse_no_network

PREFIX = "INTERLOCK_"

_FOLLOWS = "default_factory_not_called"
"""What pydantic says of a default that follows from a value which could not be used: that one is enough to name."""
_TRUTHS = dict.fromkeys(("true", "yes", "on", "1"), "true") | dict.fromkeys(("false", "no", "off", "0"), "false")
_ANSWER = re.compile(r"(Value error, |Input )?(?P<reason>.*)", re.DOTALL)


class SettingsRefused(Exception):
    """The settings cannot be used; ``problems`` lists all reasons, one sentence each."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("; ".join(problems))
        self.problems = problems


def _also(name: str, *others: str) -> AliasChoices:
    return AliasChoices(PREFIX + name, *others)


def default_data_dir() -> Path:
    """Where data is kept unless a setting says otherwise."""
    base = os.environ.get("XDG_DATA_HOME")
    return (Path(base) if base else Path.home() / ".local" / "share") / "interlock"


class Settings(
    PlacingSettings,
    ComputeSettings,
    ModelSettings,
    IdentitySettings,
    LimitSettings,
    SandboxSettings,
    BlobSettings,
    MetricsSettings,
    ProfileSettings,
):
    """All settings with their defaults; the table in docs/reference/settings.md is made from this."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        env_file=".env",
        env_file_encoding="utf-8",
        extra="ignore",
        frozen=True,
        populate_by_name=True,
        env_ignore_empty=True,
    )

    host: str = Field("127.0.0.1", validation_alias=_also("HOST", "HOST"), description="Address of the HTTP port.")
    port: int = Field(
        8000, ge=0, le=65535, validation_alias=_also("PORT", "PORT"), description="HTTP port; 0 picks one."
    )
    share_port: bool = Field(False, description="Let several processes listen on the port; `serve --workers` sets it.")
    ends_with_input: bool = Field(
        False, description="End when standard input ends; `serve --workers` sets it for its processes."
    )
    siblings_dir: Path | None = Field(
        None,
        description="Folder in which the processes on one port find each other, so that /metrics is of all of them; "
        "`serve --workers` sets it.",
    )
    connections_per_address: int = Field(
        2000, ge=1, description="Connections one address (of IPv6 one /64) may hold to a process; more get 503."
    )
    trusted_hosts: Annotated[tuple[str, ...], NoDecode] = Field(
        (), description="`Host` names served, without port; in local mode beside the loopback ones. Others get 421."
    )
    data_dir: Path = Field(
        default_factory=default_data_dir, description="Embedded database, signing keys and blobs of this server."
    )
    database_url: SecretStr | None = Field(
        None,
        validation_alias=_also("DATABASE_URL", "DATABASE_URL"),
        description="Postgres that serves (15 or newer), as a role that owns nothing; empty: the embedded one.",
    )
    migrate_database_url: SecretStr | None = Field(
        None, description="The same database as its owner, for `interlock migrate`; never used to serve."
    )
    database_pool_size: int = Field(
        10,
        ge=2,
        le=200,
        description="Connections for requests, per process; engine, access and bookings take up to 20 more.",
    )
    pg_bindir: Path | None = Field(None, description="Folder of the Postgres programs for the embedded database.")
    slots: int = Field(2000, ge=1, le=100_000, description="Executions one process works on at a time.")
    tenant_cap: int = Field(1000, ge=1, description="Executions of one tenant that are worked on at a time.")
    tenant_queue: int = Field(
        10_000, ge=1, description="Starts of one tenant that wait to be worked on; more get 429 `QUEUE_FULL`."
    )
    process_workers: int = Field(
        0, ge=0, le=256, description="Child processes for functions; 0: one per core, at least 2."
    )
    egress_allow: Annotated[tuple[str, ...], NoDecode] = Field(
        (), description="Private networks (CIDR, or `loopback`) that outgoing calls may reach."
    )
    public_url: str = Field(
        "", description="Address by which others reach this server, for callbacks; empty: the one it listens on."
    )
    session_idle_seconds: float = Field(
        1800.0, gt=0, le=2_592_000, description="How long a session waits for its user before it is paused, in seconds."
    )
    shutdown_grace_seconds: float = Field(20.0, gt=0, le=600, description="Longest clean stop, in seconds.")
    allow_unsafe_commit: bool = Field(
        False, description="Serve although the database has synchronous_commit off: acknowledged work can be lost."
    )
    failpoints: str = Field("", description="For fault tests only: `name=exit|raise|sleep:S[@n]`, comma-separated.")
    url: str = Field("http://127.0.0.1:8000", description="Server that the commands talk to.")
    token: SecretStr | None = Field(None, description="Credential of the commands; default: the local user's.")
    api_secret_key: SecretStr | None = Field(
        None,
        validation_alias=_also("API_SECRET_KEY", "API_SECRET_KEY"),
        description="Hashes API keys and derives their signing secrets: 32 random characters or more; `new,old` while "
        "rotating. Needed outside local mode, which makes one in the data directory.",
    )
    mcp_api_keys: SecretStr | None = Field(
        None,
        validation_alias=_also("MCP_API_KEYS", "MCP_API_KEYS"),
        description="API keys beside the stored ones: a JSON object of key and record.",
    )
    audit_retention_days: int = Field(
        400, ge=30, le=36_500, description="Days that entries of the audit log are kept, at least."
    )
    allow_key_in_url: bool | None = Field(
        None, description="Take API keys from an address where a door knows that; on in local mode, else off."
    )
    encryption_key: SecretStr | None = Field(
        None,
        validation_alias=_also("ENCRYPTION_KEY", "ENCRYPTION_KEY"),
        description="Seals stored secrets: 32 random characters or more; `new,old` while rotating. Needed outside "
        "local mode, which makes one in the data directory.",
    )

    @field_validator("data_dir", "pg_bindir", "log_file")
    @classmethod
    def _expand_home(cls, value: Path | None) -> Path | None:
        return value.expanduser() if value is not None else None

    @field_validator("database_url", "migrate_database_url")
    @classmethod
    def _check_address(cls, value: SecretStr | None) -> SecretStr | None:
        try:
            _ = value is None or urlsplit(value.get_secret_value()).port
        except ValueError:  # its text may quote a part of the password
            raise ValueError(
                "is no address; write it like postgresql://USER:PASSWORD@HOST:PORT/DATABASE, with % and two "
                "hexadecimal digits for special signs in the password"
            ) from None
        return value

    @field_validator("egress_allow", "trusted_proxies")
    @classmethod
    def _check_networks(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for entry in value:
            refuse_no_network(entry)
        return value

    @field_validator("token")
    @classmethod
    def _check_token(cls, value: SecretStr | None) -> SecretStr | None:
        if value is None:
            return None
        text = value.get_secret_value().strip()
        if not (text.isascii() and text.isprintable()) or " " in text:
            raise ValueError("holds signs that no token has; `interlock token` prints one")
        return SecretStr(text)

    @field_validator("failpoints")
    @classmethod
    def _check_failpoints(cls, value: str) -> str:
        failpoints.read(value)
        return value

    @field_validator("encryption_key", "api_secret_key")
    @classmethod
    def _check_keys(cls, value: SecretStr | None) -> SecretStr | None:
        keys = value.get_secret_value().split(",") if value is not None else []
        if any(is_guessable(key) for key in keys):
            raise ValueError(
                f"holds a key that is too easy to guess; each needs {KEY_BYTES} random characters, such as "
                f"`{MAKE_A_KEY}` prints"
            )
        return value

    @field_validator("host")
    @classmethod
    def _spell_host(cls, value: str) -> str:
        return host_name(value)

    @field_validator(
        "trusted_hosts", "cors_origins", "egress_allow", "trusted_proxies", "metrics_exporter", mode="before"
    )
    @classmethod
    def _split(cls, value: Any) -> Any:
        return entries(value) if isinstance(value, str) else value

    @field_validator("trusted_hosts")
    @classmethod
    def _spell_hosts(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(map(host_name, value))


def load(**given: Any) -> Settings:
    """The settings from command-line options (strongest), environment, `.env`, defaults.

    Raises SettingsRefused with all problems at once.
    """
    settings, problems = examine(**given)
    if problems:
        raise SettingsRefused(problems)
    return settings


def examine(**given: Any) -> tuple[Settings, list[str]]:
    """The same with all that is wrong with them, so that more can be looked at before anything is said.

    In place of a value that cannot be used stands its default. Raises SettingsRefused for a `.env` that is no text.
    """
    _refuse_unreadable(Path(".env"))
    written = _dotenv()
    everything = {**written, **os.environ}
    from_files, wrong_files = read_secret_files(everything, secret_names())
    problems = [*_unknown_names(everything), *wrong_files]
    problems += [text for source in (os.environ, written) for text in _contradictions(source)]
    told = from_files | {name: value for name, value in given.items() if value is not None}
    try:
        settings = Settings(**told)
    except ValidationError as error:
        wrong = [found for found in error.errors(include_url=False) if found["type"] != _FOLLOWS]
        problems += map(_explain, wrong)
        settings = Settings(**told | {name: _default(name) for name in map(_field_of, wrong) if name})
    problems += [*settings.sandbox_problems(is_local=settings.local), *settings.blob_problems()]
    return settings, [*problems, *settings.profile_problems(), *settings.limit_problems(), *settings.metrics_problems()]


def worker_environment(settings: Settings, port: int, count: int = 1) -> dict[str, str]:
    """The environment of one of ``count`` serving processes: ours, what options have set, and the port, shared."""
    options = {
        "HOST": settings.host,
        "PORT": port,
        "DATA_DIR": settings.data_dir,
        "LOCAL": settings.local,
        "LOCAL_ALLOW_REMOTE": settings.local_allow_remote,
        "LOG_LEVEL": settings.log_level,
        "LOG_FILE": settings.log_file or "",
        "EXECUTOR": settings.executor,
        "SANDBOX": settings.sandbox or "",
        "METRICS_ENABLED": settings.metrics_enabled,
        "METRICS_EXPORTER": ",".join(settings.metrics_exporter),
        "METRICS_ENDPOINT": settings.metrics_endpoint,
        "SHARE_PORT": True,
        "SIBLINGS_DIR": settings.siblings_dir or "",
        "ENDS_WITH_INPUT": True,
        "PROCESSES": settings.processes * count,
    }
    told = {PREFIX + name: str(value) for name, value in options.items()}
    fields = {field for name, field in known_names().items() if name in told}
    others = {name for name, field in known_names().items() if field in fields}  # they would say something else
    return {**{name: value for name, value in os.environ.items() if name not in others}, **told}


def child_environment() -> dict[str, str]:
    """What a child process that runs functions may see of the environment: nothing of ours, no store, no cluster."""
    hidden = ("INTERLOCK_", "DATABASE_URL", "REDIS_URL", "PG", "RAY_")
    secret = {each for name in secret_names() for each in (name, name + ENDING)}
    return {name: value for name, value in os.environ.items() if not name.startswith(hidden) and name not in secret}


def driver_environment() -> dict[str, str]:
    """What the client of a Ray cluster sees: the same, and how to reach the cluster."""
    return {**child_environment(), **{name: value for name, value in os.environ.items() if name.startswith("RAY_")}}


def secret_names() -> dict[str, str]:
    """Every environment name of a secret with the field it sets."""
    return {name: field for name, field in known_names().items() if _is_secret(field)}


def _is_secret(field: str) -> bool:
    annotation = Settings.model_fields[field].annotation
    return SecretStr in (annotation, *get_args(annotation))


def default_url() -> str:
    """Where commands look for a server unless a setting says otherwise."""
    return str(Settings.model_fields["url"].default)


def known_names() -> dict[str, str]:
    """Every environment name with the field it sets."""
    names: dict[str, str] = {}
    for field, found in Settings.model_fields.items():
        alias = found.validation_alias
        choices = alias.choices if isinstance(alias, AliasChoices) else [PREFIX + field.upper()]
        names |= {str(choice): field for choice in choices}
    return names


def _unknown_names(environment: Mapping[str, str]) -> list[str]:
    names = (*known_names(), *(name + ENDING for name in secret_names()))
    known = [name for name in names if name.startswith(PREFIX)]
    problems = []
    for name in sorted(environment):
        if name.startswith(PREFIX) and name not in known:
            near = difflib.get_close_matches(name, known, 1)
            problems.append(f"{name} is not a setting" + (f"; did you mean {near[0]}?" if near else ""))
    return problems


def _contradictions(source: Mapping[str, str]) -> list[str]:
    """Settings that one place gives under our name and under another, with different values."""
    ours = {field: name for name, field in known_names().items() if name.startswith(PREFIX)}
    return [
        f"{ours[field]} and {name} are one setting and have different values; leave one of them out"
        for name, field in known_names().items()
        if _plain(source.get(name)) and _plain(source.get(ours[field])) not in ("", _plain(source[name]))
    ]


def _plain(text: str | None) -> str:
    """A value without what makes no difference: space around it, and the word for a truth."""
    plain = (text or "").strip()
    return _TRUTHS.get(plain.lower(), plain)


def _refuse_unreadable(file: Path) -> None:
    try:
        _ = file.is_file() and file.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise SettingsRefused([f"{file.resolve()} is not UTF-8 text (byte {error.start})"]) from error
    except OSError as error:
        raise SettingsRefused([f"{file.resolve()} cannot be read: {error.strerror}"]) from error


def _dotenv() -> dict[str, str]:
    """What is set in `.env`, which is checked like the environment."""
    return {name: value or "" for name, value in dotenv_values(".env").items()}


def reads_dotenv() -> bool:
    """Whether there is a `.env` here that sets anything."""
    return bool(_dotenv())


def _default(name: str) -> Any:
    """The default of a setting, in an environment that is not known."""
    return Settings.model_fields[name].get_default(call_default_factory=True, validated_data={})


def _field_of(error: Any) -> str:
    """The setting that an error is about; empty if it is about none."""
    return known_names().get(_env_name(error), "")


def _env_name(error: Any) -> str:
    name = str(error["loc"][0]) if error["loc"] else "?"
    return name if name.isupper() else PREFIX + name.upper()


def _explain(error: Any) -> str:
    """One problem: the name, the value unless it may be a secret, and what is wanted."""
    env_name = _env_name(error)
    field = Settings.model_fields.get(_field_of(error))
    is_secret = field is None or SecretStr in (field.annotation, *get_args(field.annotation))
    given = error["input"]
    value = "" if is_secret else f"={','.join(given) if isinstance(given, tuple) else given}"
    reason = _ANSWER.fullmatch(error["msg"])
    return f"{env_name}{value}: {reason['reason'] if reason else error['msg']}"
