"""Users' code: whether it runs here, where it is kept, and behind which walls it runs."""

from __future__ import annotations

from dataclasses import dataclass

import structlog

from interlock.backends.executor.sandbox.executor import SandboxExecutor
from interlock.backends.executor.sandbox.walls import Walls, find_walls
from interlock.backends.store.postgres.code_shelf import PostgresCodeShelf
from interlock.backends.store.postgres.webhook_ledger import Use
from interlock.config import Settings
from interlock.ports.blobs import Blobs
from interlock.ports.egress import Egress
from interlock.ports.secrets import Secrets
from interlock.ports.task_log import TaskLog
from interlock.services.code.save import SaveCode

SWITCHED_OFF = "users' code is switched off by INTERLOCK_CODE_EXECUTION"
log = structlog.get_logger("bootstrap")


@dataclass(frozen=True)
class Sandbox:
    """What runs users' code, and what takes it."""

    executor: SandboxExecutor
    save_code: SaveCode
    shelf: PostgresCodeShelf


def runs_code(settings: Settings) -> bool:
    """Whether users may run their code here."""
    return settings.local if settings.code_execution is None else settings.code_execution


def walls_of(settings: Settings) -> Walls:
    """The walls that this server puts around users' code; tries them out."""
    if not runs_code(settings):
        return Walls(None, SWITCHED_OFF)
    return find_walls(settings.sandbox, is_local=settings.local)


def children_of(settings: Settings, asked: int) -> int | None:
    """How many attempts run at a time in children of one kind: one after the other inline; None is for as they like."""
    return 1 if settings.executor == "inline" else asked or None


def open_sandbox(
    settings: Settings, use: Use, secrets: Secrets, egress: Egress, blobs: Blobs, task_log: TaskLog
) -> Sandbox:
    """The sandbox of this server. Says in the log what is weaker than it should be."""
    walls = walls_of(settings)
    if runs_code(settings):
        _tell(walls)
    shelf = PostgresCodeShelf(use, secrets)
    executor = SandboxExecutor(
        walls,
        shelf,
        egress,
        blobs,
        scratch=settings.data_dir / "scratch",
        size=children_of(settings, settings.sandbox_workers),
        memory=settings.sandbox_memory_mib,
        task_log=task_log,
        hidden=(str(settings.data_dir.resolve()),),
        spares=settings.sandbox_spares,
    )
    save_code = SaveCode(
        shelf, is_enabled=runs_code(settings), has_sandbox=walls.mode is not None, announce=executor.prepare
    )
    return Sandbox(executor, save_code, shelf)


def _tell(walls: Walls) -> None:
    if walls.mode is None:
        log.error("sandbox.unavailable", reason=walls.reason, meaning="users' code is refused")
    elif walls.mode != "bwrap":
        log.warning(
            "sandbox.weak",
            mode=walls.mode,
            reason=walls.reason,
            meaning="users' code can read what this process can, and reach the network",
        )
    elif walls.calls is None:
        log.warning("sandbox.unfiltered", reason=walls.reason, meaning="users' code can make every system call")
