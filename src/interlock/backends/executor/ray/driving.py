"""The driver as the server sees it: started when it is needed, started again when it breaks, ended with the server."""

from __future__ import annotations

import asyncio
import os
import shutil
import socket
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import msgspec

from interlock.backends.executor.frames import HEADER
from interlock.backends.executor.logs import log
from interlock.backends.executor.ray.ground import clear, keep_token, on_loopback, quiet, short_folder, with_token
from interlock.backends.executor.ray.messages import (
    Connected,
    FromDriver,
    FromServer,
    Leave,
    Local,
    Plan,
    Unable,
    frame,
    read_driver,
)

_PROGRAM = "interlock.backends.executor.ray.driver"
_FIRST_DELAY = 0.5
_LONGEST_DELAY = 15.0
_CONNECTING = 120.0
"""Seconds for a driver to connect to the cluster or to start one."""
_REACHING = 5.0
"""Seconds for a connection to the address of a cluster."""
_TIDYING = 2.0
"""Seconds to remove what an ended driver has left."""


class Unreached(Exception):
    """Nobody listens where the cluster should be; says so with the address."""


async def _reach(address: str | None) -> None:
    """Return if somebody listens at a host and port. Ray itself would look for minutes, and not say where.

    Raises Unreached. Addresses of other forms are left to Ray.
    """
    host, _, port = (address or "").rpartition(":")
    if not host or "/" in host or not port.isdecimal():
        return
    try:
        async with asyncio.timeout(_REACHING):
            _, writer = await asyncio.open_connection(host.strip("[]"), int(port))
    except (OSError, OverflowError) as error:  # a timeout is one too
        why = str(error) or f"no answer within {_REACHING:g} seconds"
        raise Unreached(f"nothing listens at {address}, where the cluster should be: {why}") from error
    writer.close()


class Driving:
    """Keeps a driver. ``on_message`` hears what it says, ``on_broken`` that it is gone; ``reason`` is why.

    ``folder`` is where a local Ray has its token, and its files if the path is short enough. ``environment`` is what
    the driver sees, and a local Ray with it.
    """

    def __init__(
        self,
        plan: Plan,
        *,
        folder: Path,
        environment: Mapping[str, str],
        on_message: Callable[[FromDriver], None],
        on_broken: Callable[[], None],
    ) -> None:
        self._plan = plan
        self._folder = folder
        self._environment = environment
        self._on_message = on_message
        self._on_broken = on_broken
        self._keeping: asyncio.Task[None] | None = None
        self._process: asyncio.subprocess.Process | None = None
        self._writer: asyncio.StreamWriter | None = None
        self._lifeline: int | None = None
        self._elsewhere: Path | None = None
        self._is_stopped = False
        self.is_connected = False
        self.reason = ""

    @property
    def is_wanted(self) -> bool:
        """Whether there is a driver, or will be."""
        return self._keeping is not None

    def want(self) -> None:
        """See to it that there is a driver."""
        if self._keeping is None and not self._is_stopped:
            self._keeping = asyncio.get_running_loop().create_task(self._keep(), name="ray driver")

    def say(self, message: FromServer) -> None:
        """Send a message; one to a dead driver is lost."""
        if self._writer is not None:
            self._writer.write(frame(message))

    async def stop(self, grace: float) -> None:
        """Have everything ended that runs for this server, then the driver, within ``grace`` seconds."""
        self._is_stopped = True
        process = self._process
        if process is not None and process.returncode is None:
            self.say(Leave())
            try:
                async with asyncio.timeout(grace):
                    await process.wait()
            except TimeoutError:
                log.error("executor.ray_driver_will_not_end", pid=process.pid)
                process.kill()
                await process.wait()
        if self._keeping is not None:
            if process is not None:
                await asyncio.wait([self._keeping], timeout=_TIDYING)
            self._keeping.cancel()
            await asyncio.wait([self._keeping])

    async def _keep(self) -> None:
        delay = _FIRST_DELAY
        while True:
            was_connected = await self._run_once()
            if self._is_stopped:
                return
            log.error("executor.ray_driver_ended", reason=self.reason, again_in_seconds=delay)
            delay = _FIRST_DELAY if was_connected else delay
            await asyncio.sleep(delay)
            delay = min(_LONGEST_DELAY, delay * 2)

    async def _run_once(self) -> bool:
        """One driver from its start to its end; whether it was connected. Until it is, the last reason stands."""
        was_connected, told = False, ""
        try:
            await _reach(self._plan.address)
            reader = await self._start()
            async with asyncio.timeout(_CONNECTING) as patience:
                while True:
                    length = int.from_bytes(await reader.readexactly(HEADER), "big")
                    message = read_driver.decode(await reader.readexactly(length))
                    if isinstance(message, Connected):
                        patience.reschedule(None)
                        was_connected = self.is_connected = True
                        self.reason = ""
                    elif isinstance(message, Unable):
                        told = message.reason
                    self._on_message(message)
        except Unreached as error:
            self.reason = str(error)
        except TimeoutError:  # which is an OSError
            self.reason = f"it was not reached{self._at} within {_CONNECTING:g} seconds"
        except (asyncio.IncompleteReadError, OSError):
            self.reason = told or f"its driver died{self._at}"
        except msgspec.MsgspecError as error:
            self.reason = f"its driver talks nonsense: {error}"
        finally:
            self.is_connected = False
            await self._end()
        self._on_broken()
        return was_connected

    @property
    def _at(self) -> str:
        return f" (the cluster at {self._plan.address})" if self._plan.address else ""

    async def _start(self) -> asyncio.StreamReader:
        ours, theirs = socket.socketpair()
        held, self._lifeline = os.pipe()
        try:
            plan, environment = await asyncio.to_thread(self._prepare)
            reader, self._writer = await asyncio.open_connection(sock=ours)
            self._process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-P", "-m", _PROGRAM, str(theirs.fileno()), str(held)),
                stdin=asyncio.subprocess.DEVNULL,
                pass_fds=(theirs.fileno(), held),
                start_new_session=True,
                env=environment,
            )
        finally:
            theirs.close()
            os.close(held)
        self._writer.write(frame(plan))
        return reader

    async def _end(self) -> None:
        """The driver is dead when this returns; what it had started dies with it."""
        if self._writer is not None:
            self._writer.close()
            self._writer = None
        process, self._process = self._process, None
        if process is not None:
            try:
                async with asyncio.timeout(0.0 if not self._is_stopped else 5.0):
                    await process.wait()
            except TimeoutError:
                if process.returncode is None:
                    process.kill()
                await process.wait()
        if self._lifeline is not None:
            os.close(self._lifeline)
            self._lifeline = None
        if self._elsewhere is not None:
            await asyncio.to_thread(shutil.rmtree, self._elsewhere, ignore_errors=True)
            self._elsewhere = None

    def _prepare(self) -> tuple[Plan, dict[str, str]]:
        """The plan, and the driver's environment; for a local Ray with a token, a folder, and the loopback only."""
        environment = quiet(self._environment)  # the plan says where to go
        if self._plan.address or self._plan.local is None:
            return self._plan, environment
        token = keep_token(self._folder)
        clear(self._folder)  # of Rays that are dead: this one is the first to start
        folder, is_elsewhere = short_folder(self._folder)
        self._elsewhere = folder if is_elsewhere else None
        environment = on_loopback(with_token(environment, token))
        return msgspec.structs.replace(
            self._plan, local=Local(folder=str(folder), cpus=self._plan.local.cpus)
        ), environment
