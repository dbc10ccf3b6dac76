"""Artifacts as files. Their names come from workflows, so they are places below one directory and nowhere else."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from interlock.core.errors import ErrorKind
from interlock.doors.cli.failures import WrongUseError, failure
from interlock.doors.cli.server import Server, segment
from interlock.doors.cli.texts import one_line


async def save_artifacts(
    server: Server, execution_id: str, artifacts: Sequence[Mapping[str, Any]], directory: Path
) -> dict[str, Path]:
    """Write each artifact below ``directory``, whole or not at all; the paths by name.

    Raises WrongUseError if the directory cannot be written, EXTERNAL for a name or content that cannot be right.
    """
    saved: dict[str, Path] = {}
    for artifact in artifacts:
        name = str(artifact["name"])
        path = place_of(directory, name)
        async with server.download(f"/executions/{segment(execution_id)}/artifacts/{segment(name)}") as chunks:
            content = b"".join([chunk async for chunk in chunks])
        if hashlib.sha256(content).hexdigest() != artifact["sha256"]:
            message = f"The content of {one_line(name, 60)} is not what the server recorded"
            raise failure(ErrorKind.EXTERNAL, "ARTIFACT_BROKEN", message, "Try again.")
        _write(path, content)
        saved[name] = path
    return saved


def place_of(directory: Path, name: str) -> Path:
    """Where an artifact belongs. Raises EXTERNAL for a name that leads out of the directory."""
    parts = PurePosixPath(name).parts
    is_safe = parts and not any(part in ("..", "/") or "\\" in part or ":" in part or "\0" in part for part in parts)
    if not is_safe:
        message = f"An artifact is called {one_line(name, 60)!r}, which is no name for a file"
        raise failure(ErrorKind.EXTERNAL, "ARTIFACT_NAME", message, "Rename it in the workflow.")
    return directory.joinpath(*parts)


def _write(path: Path, content: bytes) -> None:
    """Write beside the place and move there, so that nobody ever sees half a file."""
    unfinished = path.with_name(f".{path.name}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        unfinished.write_bytes(content)
        os.replace(unfinished, path)
    except OSError as error:
        reason = (error.strerror or "unknown reason").lower()
        raise WrongUseError(f"{path} cannot be written: {reason}.", step="Choose another directory.") from error
