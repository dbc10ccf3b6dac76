"""Keeps the server's log file from growing without bound."""

from __future__ import annotations

import asyncio
from pathlib import Path

import structlog

LARGEST = 16 << 20  # bytes of the log before it is cut
KEPT = 8 << 20  # bytes of its end that go on in postgres.log.1
CHECK_SECONDS = 60.0


def cut_log(log: Path, largest: int = LARGEST, kept: int = KEPT) -> bool:
    """Empty ``log`` if it is larger than ``largest``, keeping its end in ``<log>.1``; tells whether it was cut.

    The server goes on writing to the same file (it appends), so lines written during the cut may be lost.
    """
    size = log.stat().st_size if log.exists() else 0
    if size <= largest:
        return False
    with log.open("r+b") as file:
        file.seek(max(size - kept, 0))
        end = file.read()
        file.truncate(0)  # before the copy: a full disk is the likeliest reason for a long log
    half = log.with_name(f"{log.name}.half")
    half.write_bytes(end)
    half.replace(log.with_name(f"{log.name}.1"))
    return True


def log_end(log: Path, since: int = 0, lines: int = 20) -> str:
    """The last lines written after the byte ``since``."""
    with log.open("rb") as file:
        file.seek(since)
        return "\n".join(file.read().decode(errors="replace").splitlines()[-lines:])


async def keep_log_bounded(log: Path) -> None:
    """Cut the log when it is due, until cancelled; failing to is told once a minute and hurts nothing else."""
    while True:
        try:
            await asyncio.to_thread(cut_log, log)
        except OSError as error:
            structlog.get_logger(__name__).warning("database.log_not_cut", log=str(log), error=str(error))
        await asyncio.sleep(CHECK_SECONDS)
