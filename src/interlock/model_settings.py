"""The settings about models: who serves them, and what they cost."""

from __future__ import annotations

from typing import Literal

from pydantic import AliasChoices, Field, SecretStr
from pydantic_settings import BaseSettings


def _named(name: str) -> AliasChoices:
    """Under our prefix, and under the name that it has elsewhere."""
    return AliasChoices(f"INTERLOCK_{name}", name)


class ModelSettings(BaseSettings):
    """A part of ``config.Settings``; nothing else reads the environment."""

    mode: Literal["offline", "real"] | None = Field(
        None,
        description="`offline` serves the scripted model in place of all providers; default: `real` with a provider, "
        "else `offline`.",
    )
    model_providers: SecretStr | None = Field(
        None,
        description="Model providers: a JSON object of name and `{base_url, api_key, models, prices, batch}`; see the "
        "how-to page on providers.",
    )
    model_local: bool = Field(
        False,
        description="Serve `smollm2` and `multilingual-e5-small` in this process, from packages that carry their "
        "weights; see the how-to page on providers.",
    )
    cache_backend: Literal["memory", "redis", "none"] | None = Field(
        None,
        description="Where answers of models are kept for callers who ask for that: in each process, in Redis, or "
        "nowhere. Default: in Redis if there is one, else in each process.",
    )
    cache_ttl: float = Field(
        3600.0,
        gt=0,
        le=86_400,
        validation_alias=_named("CACHE_TTL"),
        description="The oldest answer that is given again, in seconds.",
    )
    openai_api_key: SecretStr | None = Field(
        None,
        validation_alias=_named("OPENAI_API_KEY"),
        description="Key of the provider `openai`; empty: it is not used.",
    )
    openai_base_url: str = Field(
        "https://api.openai.com/v1",
        validation_alias=_named("OPENAI_BASE_URL"),
        description="Address of the provider `openai`.",
    )
    dashscope_api_key: SecretStr | None = Field(
        None,
        validation_alias=_named("DASHSCOPE_API_KEY"),
        description="Key of the provider `dashscope`; empty: it is not used.",
    )
    dashscope_base_url: str = Field(
        "https://dashscope.aliyuncs.com/compatible-mode/v1",
        validation_alias=_named("DASHSCOPE_BASE_URL"),
        description="Address of the provider `dashscope`.",
    )
