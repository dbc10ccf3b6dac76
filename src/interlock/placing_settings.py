"""The settings about tasks with resources: what of the machine they get, and what if they ask too much."""

from __future__ import annotations

from typing import Literal

from pydantic import Field
from pydantic_settings import BaseSettings


class PlacingSettings(BaseSettings):
    """A part of ``config.Settings``; nothing else reads the environment."""

    task_cpu: float = Field(
        0.0,
        ge=0,
        le=100_000,
        description="Cores of this machine for tasks that name resources; 0: all of them, at least 4.",
    )
    task_memory: float = Field(
        0.0, ge=0, le=1e9, description="MiB of this machine's memory for tasks that name resources; 0: all of it."
    )
    over_ask: Literal["clamp", "queue", "reject"] | None = Field(
        None,
        description="What becomes of a task that asks for more than any worker has: `clamp` cuts it down, `queue` "
        "waits for a worker that has it, `reject` refuses the start. Default: `clamp` in local mode, else `queue`; a "
        "workflow may be stricter.",
    )
    waiting_tasks: int = Field(
        10_000,
        ge=1,
        description="Tasks of one tenant that wait for resources; while there are more, starts of workflows with such "
        "tasks get `QUEUE_FULL`.",
    )
    processes: int = Field(
        1, ge=1, le=1_000, description="Processes that share this machine; `serve --workers` sets it for its processes."
    )
