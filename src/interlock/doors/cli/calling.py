"""What every command gets, and how its work becomes an exit code."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import typer

from interlock.core.errors import ErrorKind, InterlockError
from interlock.core.principal import LOCAL_TENANT
from interlock.doors.cli.failures import FAILED, exit_code, failure
from interlock.doors.cli.output import Output
from interlock.doors.cli.programs import Programs
from interlock.doors.cli.server import APP, Server, is_this_machine, read_url, segment
from interlock.kit.clock import Clock
from interlock.kit.ids import Ids

INTERRUPTED = 130
"""The exit code after Ctrl-C, as shells expect it."""

_REMEDY_OF_GIVEN = (
    "Put another token into INTERLOCK_TOKEN; on the server's machine `interlock token --data DIR` makes one with the "
    "key in the server's data directory."
)
_REMEDY_OF_MADE = (
    "The token was made with the key in {}. If the server uses another data directory, name that one: "
    "`export INTERLOCK_DATA_DIR=DIR`."
)


@dataclass(frozen=True, slots=True)
class Caller:
    """The parts that commands are made of; ``typer`` hands it around as the context's object."""

    programs: Programs
    clock: Clock
    ids: Ids

    def server(self, url: str | None, *, door: str = APP) -> Server:
        """A client of a door of the server at ``url``, by default of the settings' one.

        A token from the settings goes wherever the caller points; the local user's never leaves this machine.
        Raises UNAUTHENTICATED without a token for another machine.
        """
        return self._server(url, self.local_token, door)

    @asynccontextmanager
    async def administrator(self, url: str | None, tenant: str = LOCAL_TENANT) -> AsyncIterator[Server]:
        """The same for commands that administer: a token that is made here holds the scope ``admin`` in ``tenant``.

        Raises NOT_FOUND for a tenant that does not exist: a name that was mistyped must not make one.
        """
        if tenant != LOCAL_TENANT and not self.programs.environment().token:
            async with self._server(url, self.programs.mint_admin_token) as operator:
                await operator.get(f"/tenants/{segment(tenant)}")
        async with self._server(url, lambda data_dir: self.programs.mint_admin_token(data_dir, tenant)) as server:
            yield server

    def _server(self, url: str | None, mint: Callable[[Path], str], door: str = APP) -> Server:
        environment = self.programs.environment()
        address = read_url(url or environment.url)
        if environment.token:
            token = environment.token
            return Server(address, lambda: token, self.ids, _REMEDY_OF_GIVEN, door=door)
        if not is_this_machine(address):
            step = "Put one into INTERLOCK_TOKEN; the local user's token is for this machine only."
            raise failure(ErrorKind.UNAUTHENTICATED, "NO_TOKEN", f"There is no token for {address}", step)
        remedy = _REMEDY_OF_MADE.format(environment.data_dir)
        return Server(address, lambda: mint(environment.data_dir), self.ids, remedy, door=door)

    def local_token(self, data_dir: Path) -> str:
        """A fresh token of the local user of a data directory."""
        return self.programs.mint_token(data_dir)

    def open_server(self, url: str | None) -> Server:
        """A client for paths that need no token."""
        return Server(read_url(url or self.programs.environment().url), lambda: "", self.ids)


def caller_of(context: typer.Context) -> Caller:
    """The caller of a command."""
    caller = context.obj
    if not isinstance(caller, Caller):
        raise TypeError("the command line was not made by build()")
    return caller


def carry_out(output: Output, work: Callable[[], int]) -> None:
    """Do a command's work and leave with its exit code; failures are said as sentences."""
    try:
        code = work()
    except InterlockError as error:
        output.error(error)
        code = exit_code(error)
    except KeyboardInterrupt:
        code = INTERRUPTED
    except BrokenPipeError:
        code = output.abandon()
    raise typer.Exit(code)


def carry_out_async(output: Output, work: Callable[[], Coroutine[Any, Any, int]]) -> None:
    """The same for work that talks to a server."""
    carry_out(output, lambda: asyncio.run(work()))


def code_of(is_good: bool) -> int:
    """0 or 1."""
    return 0 if is_good else FAILED
