"""The settings about limits, and about the Redis that processes share them and their hints through."""

from __future__ import annotations

import json
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import AliasChoices, Field, SecretStr, field_validator
from pydantic_settings import BaseSettings, NoDecode

from interlock.core.limits import LimitTable

_SCHEMES = ("redis", "rediss", "unix")


def _named(name: str) -> AliasChoices:
    """Under our prefix, and under the name that it has elsewhere."""
    return AliasChoices(f"INTERLOCK_{name}", name)


class LimitSettings(BaseSettings):
    """A part of ``config.Settings``; nothing else reads the environment."""

    redis_url: SecretStr | None = Field(
        None,
        validation_alias=_named("REDIS_URL"),
        description="Redis or Valkey for hints between processes and for shared limits, such as "
        "`redis://localhost:6379/0`; empty: hints over the database, limits for each process. Losing it costs "
        "latency only.",
    )
    rate_limit_storage: Literal["redis", "memory"] | None = Field(
        None,
        validation_alias=_named("RATE_LIMIT_STORAGE"),
        description="Where requests are counted; default: in Redis if there is one, else in each process.",
    )
    rate_limit_strategy: Literal["sliding_window", "fixed_window"] = Field(
        "sliding_window",
        validation_alias=_named("RATE_LIMIT_STRATEGY"),
        description="`fixed_window` lets twice the limit pass around the end of a window.",
    )
    public_rate_limit_enabled: bool | None = Field(
        None,
        validation_alias=_named("PUBLIC_RATE_LIMIT_ENABLED"),
        description="Limit callers without a credential; default: in staging and production. The other limits cannot "
        "be switched off outside local mode.",
    )
    rate_limits: Annotated[dict[str, str] | None, NoDecode] = Field(
        None,
        description='Other numbers than those of docs/reference/limits.md, as JSON: `{"app:POST /chat/stream": '
        '"200/hour"}`. They hold in local mode too.',
    )
    trusted_proxies: Annotated[tuple[str, ...], NoDecode] = Field(
        (),
        description="Proxies (addresses, CIDR, or `loopback`) whose `X-Forwarded-For` is believed; empty: nobody's.",
    )

    @field_validator("redis_url")
    @classmethod
    def _check_redis(cls, value: SecretStr | None) -> SecretStr | None:
        try:
            address = urlsplit(value.get_secret_value()) if value is not None else None
            is_good = address is None or (address.scheme in _SCHEMES and (address.port or 1) > 0)
        except ValueError:  # its text may quote a part of the password
            is_good = False
        if not is_good:
            raise ValueError("is no address of a Redis; write it like redis://:PASSWORD@HOST:6379/0")
        return value

    @field_validator("rate_limits", mode="before")
    @classmethod
    def _read_limits(cls, value: Any) -> Any:
        if isinstance(value, str):
            try:
                value = json.loads(value)
            except ValueError:
                raise ValueError('is no JSON; write it like {"app:POST /chat/stream": "200/hour"}') from None
        if isinstance(value, dict):
            LimitTable(value)  # says what cannot be used
        return value

    def limit_problems(self) -> list[str]:
        """What of these settings does not go together, one sentence each."""
        if self.rate_limit_storage == "redis" and self.redis_url is None:
            return ["INTERLOCK_RATE_LIMIT_STORAGE=redis needs INTERLOCK_REDIS_URL"]
        return []
