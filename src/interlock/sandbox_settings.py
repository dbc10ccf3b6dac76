"""The settings about users' code: whether it runs here, and behind which walls."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, field_validator
from pydantic_settings import BaseSettings

Mode = Literal["bwrap", "subprocess", "none"]


class SandboxSettings(BaseSettings):
    """A part of ``config.Settings``; nothing else reads the environment."""

    code_execution: bool | None = Field(
        None, description="Let users with the scope `code:write` run their own code; default: only in local mode."
    )
    sandbox: Mode | None = Field(
        None,
        description="Walls around users' code: `bwrap` (all of them), `subprocess` (limits only) or `none`, the last "
        "two in local mode only. Default: `bwrap`; in local mode `subprocess` where that cannot be had.",
    )
    sandbox_workers: int = Field(
        0, ge=0, le=256, description="Sandboxes that run at a time; 0: one per core, at least 4."
    )
    sandbox_spares: int = Field(
        2,
        ge=0,
        le=64,
        description="Sandboxes beside these that are kept ready for code that has none yet, once somebody brought "
        "code: it begins at once instead of after a third of a second. Each takes about 25 MiB.",
    )
    sandbox_memory_mib: int = Field(
        2048, ge=64, le=1_048_576, description="Memory of a sandbox whose task asks for none, in MiB."
    )

    @field_validator("sandbox", mode="before")
    @classmethod
    def _know_other_names(cls, value: Any) -> Any:
        if value == "docker":
            raise ValueError("docker is not available; use bwrap, which needs no daemon")
        return "bwrap" if value == "seccomp" else value

    def sandbox_problems(self, *, is_local: bool) -> list[str]:
        """What of these settings does not go together, one sentence each."""
        if is_local or self.sandbox in (None, "bwrap"):
            return []
        return [f"INTERLOCK_SANDBOX={self.sandbox} is for local mode only; leave it out, or say bwrap"]
