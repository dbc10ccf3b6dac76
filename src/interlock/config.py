"""The settings: the only reader of the environment. Read once, checked whole, immutable afterwards."""

from __future__ import annotations

import difflib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from dotenv import dotenv_values
from pydantic import AliasChoices, Field, SecretStr, ValidationError, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

PREFIX = "INTERLOCK_"


class SettingsRefused(Exception):
    """The settings cannot be used; ``problems`` lists all reasons, one sentence each."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("; ".join(problems))
        self.problems = problems


def _also(name: str, *others: str) -> AliasChoices:
    return AliasChoices(PREFIX + name, *others)


def _data_home() -> Path:
    base = os.environ.get("XDG_DATA_HOME")
    return (Path(base) if base else Path.home() / ".local" / "share") / "interlock"


class Settings(BaseSettings):
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

    local: bool = Field(False, description="Local mode: one developer on one machine, loopback only.")
    environment: Literal["local", "development", "staging", "production"] | None = Field(
        None,
        validation_alias=_also("ENVIRONMENT", "ENVIRONMENT"),
        description="Name of the profile; `local` in local mode, else `production`.",
    )
    host: str = Field("127.0.0.1", validation_alias=_also("HOST", "HOST"), description="Address of the HTTP port.")
    port: int = Field(
        8000, ge=0, le=65535, validation_alias=_also("PORT", "PORT"), description="HTTP port; 0 picks one."
    )
    share_port: bool = Field(False, description="Let several processes listen on the port; `serve --workers` sets it.")
    trusted_hosts: Annotated[tuple[str, ...], NoDecode] = Field(
        (), description="`Host` names served besides loopback ones (comma-separated); in local mode others get 421."
    )
    cors_origins: Annotated[tuple[str, ...], NoDecode] = Field(
        (), validation_alias=_also("CORS_ORIGINS", "CORS_ORIGINS"), description="Browser origins that may call."
    )
    data_dir: Path = Field(
        default_factory=_data_home, description="Embedded database, signing keys and blobs of this server."
    )
    database_url: SecretStr | None = Field(
        None,
        validation_alias=_also("DATABASE_URL", "DATABASE_URL"),
        description="Postgres that serves (15 or newer), as a role that owns nothing; empty: the embedded one.",
    )
    migrate_database_url: SecretStr | None = Field(
        None, description="The same database as its owner, for `interlock migrate`; never used to serve."
    )
    database_pool_size: int = Field(10, ge=2, le=200, description="Connections for requests, per process.")
    pg_bindir: Path | None = Field(None, description="Folder of the Postgres programs for the embedded database.")
    slots: int = Field(2000, ge=1, le=100_000, description="Executions one process works on at a time.")
    tenant_cap: int = Field(1000, ge=1, description="Executions of one tenant that are worked on at a time.")
    process_workers: int = Field(
        0, ge=0, le=256, description="Child processes for functions; 0: one per core, at least 2."
    )
    egress_allow: Annotated[tuple[str, ...], NoDecode] = Field(
        (), description="Private networks (CIDR, or `loopback`) that outgoing calls may reach."
    )
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field(
        "INFO", validation_alias=_also("LOG_LEVEL", "LOG_LEVEL"), description="Least level that is logged."
    )
    log_format: Literal["standard", "json", "simple"] = Field(
        "standard", validation_alias=_also("LOG_FORMAT", "LOG_FORMAT"), description="Form of log lines."
    )
    log_file: Path | None = Field(None, description="Log to this file instead of standard error.")
    access_log: bool = Field(True, description="One log line per request.")
    metrics_enabled: bool = Field(
        True, validation_alias=_also("METRICS_ENABLED", "METRICS_ENABLED"), description="Serve /metrics."
    )
    shutdown_grace_seconds: float = Field(20.0, gt=0, le=600, description="Longest clean stop, in seconds.")
    allow_unsafe_commit: bool = Field(
        False, description="Serve although the database has synchronous_commit off: acknowledged work can be lost."
    )
    failpoints: str = Field("", description="For fault tests only: `name=exit|raise|sleep:S[@n]`, comma-separated.")
    url: str = Field("http://127.0.0.1:8000", description="Server that the commands talk to.")
    token: SecretStr | None = Field(None, description="Credential of the commands; default: the local user's.")

    @field_validator("data_dir", "pg_bindir", "log_file")
    @classmethod
    def _expand_home(cls, value: Path | None) -> Path | None:
        return value.expanduser() if value is not None else None

    @field_validator("trusted_hosts", "cors_origins", "egress_allow", mode="before")
    @classmethod
    def _split(cls, value: Any) -> Any:
        return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value

    @property
    def profile(self) -> str:
        """The environment's word, as shown on ``/`` and ``/version``."""
        return self.environment or ("local" if self.local else "production")


def load(**given: Any) -> Settings:
    """The settings from command-line options (strongest), environment, `.env`, defaults.

    Raises SettingsRefused with all problems at once.
    """
    problems = _unknown_names({**_dotenv_names(), **os.environ})
    try:
        settings = Settings(**{name: value for name, value in given.items() if value is not None})
    except ValidationError as error:
        problems += [_explain(found) for found in error.errors(include_input=False, include_url=False)]
        raise SettingsRefused(problems) from None
    if settings.local and settings.environment in ("staging", "production"):
        problems.append(f"INTERLOCK_LOCAL cannot be on with INTERLOCK_ENVIRONMENT={settings.environment}")
    if problems:
        raise SettingsRefused(problems)
    return settings


def worker_environment() -> dict[str, str]:
    """The environment of one of several serving processes: ours, with the port shared."""
    return {**os.environ, "INTERLOCK_SHARE_PORT": "true"}


def child_environment() -> dict[str, str]:
    """What a child process that runs functions may see of the environment: no setting of ours, no store's address."""
    hidden = ("INTERLOCK_", "DATABASE_URL", "REDIS_URL", "PG")
    return {name: value for name, value in os.environ.items() if not name.startswith(hidden)}


def known_names() -> dict[str, str]:
    """Every environment name with the field it sets."""
    names: dict[str, str] = {}
    for field, found in Settings.model_fields.items():
        alias = found.validation_alias
        choices = alias.choices if isinstance(alias, AliasChoices) else [PREFIX + field.upper()]
        names |= {str(choice): field for choice in choices}
    return names


def _unknown_names(environment: Mapping[str, str]) -> list[str]:
    known = [name for name in known_names() if name.startswith(PREFIX)]
    problems = []
    for name in sorted(environment):
        if name.startswith(PREFIX) and name not in known:
            near = difflib.get_close_matches(name, known, 1)
            problems.append(f"{name} is not a setting" + (f"; did you mean {near[0]}?" if near else ""))
    return problems


def _dotenv_names() -> dict[str, str]:
    """The names set in `.env`, which are checked like those of the environment."""
    return dict.fromkeys(dotenv_values(".env"), "")


def _explain(error: Any) -> str:
    name = str(error["loc"][0]) if error["loc"] else "?"
    field = name if name.startswith(PREFIX) else PREFIX + name.upper()
    return f"{field}: {error['msg']}"
