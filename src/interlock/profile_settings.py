"""The settings that name the environment, and those that follow from it: the log, and which pages may call."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import AliasChoices, Field, field_validator
from pydantic_settings import BaseSettings, NoDecode

ANY_ORIGIN = "*"

_ORIGIN = re.compile(r"[a-z][a-z0-9+.-]*://[^/?#\s]+")
_SHORT = {"dev": "development", "stage": "staging", "prod": "production"}
_WALL = "There is no switch for this: `false` stops the start, and local mode ignores it with a warning."


class _Profile(NamedTuple):
    """What holds in an environment unless a setting says otherwise."""

    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"]
    log_format: Literal["standard", "json", "simple"]
    cors_origins: tuple[str, ...] = ()


_PROFILES = {
    "local": _Profile("INFO", "standard"),
    "development": _Profile("DEBUG", "standard", ("http://localhost:3000", "http://localhost:8080")),
    "staging": _Profile("INFO", "json"),
    "production": _Profile("WARNING", "json"),
}


def _named(name: str, *others: str) -> AliasChoices:
    """Under our prefix, and under the names that it has elsewhere."""
    return AliasChoices(f"INTERLOCK_{name}", name, *others)


def _profile_name(told: Mapping[str, Any]) -> str:
    return told.get("environment") or ("local" if told.get("local") else "production")


def _of_profile(field: str) -> Any:
    """The default of a setting, once the environment is known."""
    return lambda told: getattr(_PROFILES[_profile_name(told)], field)


class ProfileSettings(BaseSettings):
    """A part of ``config.Settings``; nothing else reads the environment."""

    local: bool = Field(False, description="Local mode: one developer on one machine, loopback only.")
    local_allow_remote: bool = Field(
        False, description="Let local mode listen on addresses that other machines reach; it asks for no credentials."
    )
    environment: Literal["local", "development", "staging", "production"] | None = Field(
        None,
        validation_alias=_named("ENVIRONMENT"),
        description="Name of the profile, also as `dev`, `stage` or `prod`; default: `local` in local mode, else "
        "`production`.",
    )
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field(
        default_factory=_of_profile("log_level"),
        validation_alias=_named("LOG_LEVEL"),
        description="Least level that is logged; default: `DEBUG` in development, `WARNING` in production, else "
        "`INFO`.",
    )
    log_format: Literal["standard", "json", "simple"] = Field(
        default_factory=_of_profile("log_format"),
        validation_alias=_named("LOG_FORMAT"),
        description="Form of log lines; default: `json` in staging and production, else `standard`.",
    )
    log_file: Path | None = Field(None, description="Log to this file instead of standard output.")
    log_emoji: bool | None = Field(
        None, description="A sign before well-known messages in the text forms; empty: on a terminal."
    )
    access_log: bool = Field(True, description="One log line per request, whatever the least level.")
    cors_origins: Annotated[tuple[str, ...], NoDecode] = Field(
        default_factory=_of_profile("cors_origins"),
        validation_alias=_named("CORS_ORIGINS", "ALLOWED_ORIGINS"),
        description="Origins of pages that may call, such as `https://studio.example`, or `*`; in local mode others "
        "get 403. Default: in development `http://localhost:3000` and `:8080`.",
    )
    cors_allow_credentials: bool = Field(
        False,
        validation_alias=_named("CORS_ALLOW_CREDENTIALS"),
        description="Tell browsers that pages of these origins may send their cookies, though no door reads any; not "
        "with `*`, and not in local mode.",
    )
    supabase_auth_enabled: bool = Field(True, validation_alias=_named("SUPABASE_AUTH_ENABLED"), description=_WALL)
    rls_enabled: bool = Field(True, validation_alias=_named("RLS_ENABLED"), description=_WALL)
    mcp_api_key_required: bool = Field(True, validation_alias=_named("MCP_API_KEY_REQUIRED"), description=_WALL)

    @field_validator("environment", mode="before")
    @classmethod
    def _write_out(cls, value: Any) -> Any:
        return _SHORT.get(value, value) if isinstance(value, str) else value

    @field_validator("cors_origins")
    @classmethod
    def _spell_origins(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(map(_origin, value))

    @property
    def profile(self) -> str:
        """The environment's word, as shown on ``/`` and ``/version``."""
        return _profile_name({"environment": self.environment, "local": self.local})

    @property
    def open_walls(self) -> list[str]:
        """Names of the walls that somebody wants to have open."""
        walls = {
            "SUPABASE_AUTH_ENABLED": self.supabase_auth_enabled,
            "RLS_ENABLED": self.rls_enabled,
            "MCP_API_KEY_REQUIRED": self.mcp_api_key_required,
        }
        return [f"INTERLOCK_{name}" for name, is_up in walls.items() if not is_up]

    def profile_problems(self) -> list[str]:
        """What of these settings does not go together, one sentence each."""
        problems = []
        if self.local and self.environment in ("staging", "production"):
            problems.append(f"INTERLOCK_LOCAL cannot be on with INTERLOCK_ENVIRONMENT={self.environment}")
        if not self.local:
            problems += [f"{name}=false: this cannot be switched off; leave it out" for name in self.open_walls]
        if ANY_ORIGIN in self.cors_origins and self.cors_allow_credentials:
            problems.append(
                "INTERLOCK_CORS_ORIGINS=* cannot be with INTERLOCK_CORS_ALLOW_CREDENTIALS; name the origins"
            )
        if ANY_ORIGIN in self.cors_origins and self.local:
            problems.append("INTERLOCK_CORS_ORIGINS=* cannot be in local mode, which asks for no credentials")
        return problems


def _origin(text: str) -> str:
    if text == ANY_ORIGIN:
        return text
    origin = text.removesuffix("/").lower()
    if _ORIGIN.fullmatch(origin) is None:
        raise ValueError(f"{text!r} is no origin; write each one like https://studio.example, or * for all")
    return origin
