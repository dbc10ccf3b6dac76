"""A node of Ray that is ours, as the program that starts it sees it: one child process, which all of Ray dies with."""

from __future__ import annotations

import asyncio
import os
import shutil
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import msgspec

from interlock.backends.executor.ray.ground import on_loopback, quiet, short_folder, with_token
from interlock.backends.executor.ray.messages import NodeFailed, NodePlan, NodeTold
from interlock.kit.hosts import is_loopback

_PROGRAM = "interlock.backends.executor.ray.node"
_STARTING = 90.0
"""Seconds for a node's processes to start."""
LOG = "node.log"
_read: msgspec.json.Decoder[NodeTold | NodeFailed] = msgspec.json.Decoder(NodeTold | NodeFailed)


class OwnNodeError(Exception):
    """The node could not be started."""


class OwnNode:
    """One node. ``folder`` is where it keeps its log, and its files if the path is short enough.

    ``environment`` is what it sees; all nodes of a cluster have the token of that file.
    """

    def __init__(self, plan: NodePlan, *, folder: Path, token: Path, environment: Mapping[str, str]) -> None:
        environment = with_token(quiet(environment), token)
        self._environment = on_loopback(environment) if is_loopback(plan.address) else environment
        self._plan = plan
        self._folder = folder
        self._elsewhere: Path | None = None
        self._process: asyncio.subprocess.Process | None = None

    async def start(self) -> NodeTold:
        """Start it; what it is. Raises OwnNodeError with the reason, and leaves nothing behind then."""
        try:
            self._process = await self._begin()
            assert self._process.stdout is not None
            async with asyncio.timeout(_STARTING):
                line = await self._process.stdout.readline()
            told = _read.decode(line) if line else NodeFailed(reason=f"it died; see {self._folder / LOG}")
        except TimeoutError:
            told = NodeFailed(reason=f"it did not start within {_STARTING:g} seconds")
        except OSError as error:
            told = NodeFailed(reason=str(error))
        except msgspec.MsgspecError as error:
            told = NodeFailed(reason=f"it talks nonsense: {error}")
        except asyncio.CancelledError:
            await self._end(0.0)
            raise
        if isinstance(told, NodeFailed):
            await self._end(0.0)
            raise OwnNodeError(told.reason)
        return told

    async def ended(self) -> str:
        """Wait until it is dead; where to see why."""
        if self._process is not None:
            await self._process.wait()
        return f"its processes died; see {self._folder / LOG}"

    async def stop(self, grace: float) -> None:
        """End it within ``grace`` seconds, and remove its files if they are not in its folder."""
        await self._end(grace)

    async def _begin(self) -> asyncio.subprocess.Process:
        await asyncio.to_thread(self._folder.mkdir, mode=0o700, parents=True, exist_ok=True)
        folder, is_elsewhere = await asyncio.to_thread(short_folder, self._folder)
        self._elsewhere = folder if is_elsewhere else None
        plan = msgspec.structs.replace(self._plan, folder=str(folder))
        log = os.open(self._folder / LOG, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        try:
            return await asyncio.create_subprocess_exec(
                *(sys.executable, "-P", "-m", _PROGRAM, msgspec.json.encode(plan).decode()),
                stdin=asyncio.subprocess.PIPE,  # held open as long as this process lives: theirs ends with it
                stdout=asyncio.subprocess.PIPE,
                stderr=log,
                start_new_session=True,
                env=self._environment,
            )
        finally:
            os.close(log)

    async def _end(self, grace: float) -> None:
        process, self._process = self._process, None
        if process is not None:
            assert process.stdin is not None
            process.stdin.close()
            with suppress(TimeoutError):
                async with asyncio.timeout(grace):
                    await process.wait()
            if process.returncode is None:
                process.kill()
                await process.wait()
        if self._elsewhere is not None:
            await asyncio.to_thread(shutil.rmtree, self._elsewhere, ignore_errors=True)
            self._elsewhere = None
