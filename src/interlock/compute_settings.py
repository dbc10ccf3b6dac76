"""The settings that say where tasks run."""

from __future__ import annotations

from typing import Literal
from urllib.parse import urlsplit

from pydantic import AliasChoices, Field, field_validator
from pydantic_settings import BaseSettings


class ComputeSettings(BaseSettings):
    """A part of ``config.Settings``; nothing else reads the environment."""

    executor: Literal["inline", "local", "ray"] = Field(
        "local",
        description="Where functions run: `local`, in child processes of this machine; `inline`, in one of them; "
        "`ray`, on the nodes of a Ray cluster (needs the extra `ray`).",
    )
    ray_address: str = Field(
        "",
        validation_alias=AliasChoices("INTERLOCK_RAY_ADDRESS", "RAY_ADDRESS"),
        description="HOST:PORT of the Ray cluster's head; empty: a Ray of this machine's own, started when it is "
        "needed.",
    )
    ray_head: bool = Field(
        False,
        description="With `ray` and no address: start a Ray that other machines can join; `start --head` sets it.",
    )
    ray_head_port: int = Field(6379, ge=1, le=65_535, description="Port of the Ray that other machines join.")
    ray_call_tasks: int = Field(
        1_000,
        ge=1,
        le=10_000,
        description="Attempts that one call to a node of the Ray cluster carries at most. They share the price of the "
        "call; with 1 each pays its own.",
    )

    ray_socket: bool = Field(
        True,
        description="Reach the node on the server's own machine by a Unix socket; without it by Ray's calls.",
    )

    @field_validator("ray_address")
    @classmethod
    def _check_ray_address(cls, value: str) -> str:
        try:
            parts = urlsplit(f"//{value}")
            is_address = not value or bool(parts.hostname and parts.port and value == parts.netloc)
        except ValueError:
            is_address = False
        if not is_address or "@" in value:
            raise ValueError("is no HOST:PORT, such as 10.0.0.5:6379; Ray Client's ray:// is not used")
        return value

    @property
    def ray_port(self) -> int:
        """Where the head of the Ray that is used listens, or would."""
        return urlsplit(f"//{self.ray_address}").port or self.ray_head_port
