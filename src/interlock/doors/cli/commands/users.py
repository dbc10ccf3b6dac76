"""Commands about accounts of the built-in directory: create, list, confirm, role, password, disable, enable."""

from __future__ import annotations

import getpass
import sys
from collections.abc import Callable
from typing import Annotated, Any, Literal

import typer

from interlock.doors.cli.calling import caller_of, carry_out_async
from interlock.doors.cli.failures import DONE, WrongUseError
from interlock.doors.cli.options import AsJson, Url
from interlock.doors.cli.output import Output
from interlock.doors.cli.server import segment
from interlock.doors.cli.tables import plain_table
from interlock.doors.cli.texts import epoch, instant, one_line

Tenant = Annotated[
    str,
    typer.Option(
        "--tenant", metavar="NAME", help="Tenant whose accounts are meant, without INTERLOCK_TOKEN; default means all."
    ),
]
User = Annotated[str, typer.Argument(metavar="USER", help="E-mail address or id of an account.", show_default=False)]
RoleWord = Literal["viewer", "member", "admin"]


def create(
    context: typer.Context,
    email: Annotated[str, typer.Argument(metavar="EMAIL", help="Address to log in with.", show_default=False)],
    role: Annotated[RoleWord, typer.Option("--role", help="What the person may do.")] = "member",
    is_unconfirmed: Annotated[bool, typer.Option("--unconfirmed", help="Leave the address to be confirmed.")] = False,
    tenant: Tenant = "default",
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """Make an account.

    The password is asked for, or read from standard input as one line: on a command line other programs would see it.
    """
    caller, output = caller_of(context), Output(as_json=as_json)

    async def work() -> int:
        body = {"email": email, "password": _read_password(), "role": role, "confirmed": not is_unconfirmed}
        async with caller.administrator(url, tenant) as server:
            made = await server.post("/users", body)
        output.json(made)
        output.line(f"{made.get('email')} is {made.get('role')} of the tenant {made.get('tenant_id')}.")
        if not made.get("confirmed"):
            output.line(f"The address is not confirmed yet: interlock users confirm {made.get('email')}")
        return DONE

    carry_out_async(output, work)


def list_users(
    context: typer.Context,
    search: Annotated[
        str, typer.Option("--search", metavar="TEXT", help="Only addresses with this in them.", show_default=False)
    ] = "",
    role_word: Annotated[
        RoleWord | None, typer.Option("--role", help="Only with this role.", show_default=False)
    ] = None,
    state: Annotated[
        Literal["ready", "unconfirmed", "disabled"] | None,
        typer.Option("--state", help="Only of this kind.", show_default=False),
    ] = None,
    limit: Annotated[int, typer.Option("--limit", metavar="N", min=1, max=100, help="How many at most.")] = 50,
    offset: Annotated[int, typer.Option("--offset", metavar="N", min=0, help="How many to pass over.")] = 0,
    tenant: Tenant = "default",
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """List the accounts of all tenants, or of the one that is named, oldest first."""
    caller, output = caller_of(context), Output(as_json=as_json)

    async def work() -> int:
        async with caller.administrator(url, tenant) as server:
            found = await server.get(
                "/users", search=search or None, role=role_word, state=state, limit=limit, offset=offset
            )
        output.json(found)
        users = found.get("users") or []
        if not users:
            output.line("There are no accounts of that kind. Make one with `interlock users create EMAIL`.")
            return DONE
        is_one = len({user.get("tenant_id") for user in users}) == 1
        table = plain_table("E-mail", "Role", "State", "Last login (UTC)", "Id" if is_one else "Tenant")
        for user in users:
            table.add_row(
                one_line(user.get("email"), 60),
                one_line(user.get("role"), 10),
                _state(user),
                instant(epoch(user.get("last_sign_in_at"))) or "never",
                one_line(user.get("user_id" if is_one else "tenant_id"), 40),
            )
        output.show(table)
        if found.get("has_more"):
            output.note(f"{found.get('total_count')} in all; go on with --offset {offset + len(users)}")
        return DONE

    carry_out_async(output, work)


def confirm(
    context: typer.Context, user: User, tenant: Tenant = "default", url: Url = None, as_json: AsJson = False
) -> None:
    """Confirm the address of an account, so that it can log in."""
    _change(context, user, lambda: {"confirmed": True}, tenant, url, as_json=as_json)


def role(
    context: typer.Context,
    user: User,
    word: Annotated[RoleWord, typer.Argument(metavar="viewer|member|admin", help="The role.", show_default=False)],
    tenant: Tenant = "default",
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """Give an account another role; tokens in use follow within 5 s."""
    _change(context, user, lambda: {"role": word}, tenant, url, as_json=as_json)


def password(
    context: typer.Context, user: User, tenant: Tenant = "default", url: Url = None, as_json: AsJson = False
) -> None:
    """Give an account another password and end its logins.

    The password is asked for, or read from standard input as one line.
    """
    _change(context, user, lambda: {"password": _read_password()}, tenant, url, as_json=as_json)


def disable(
    context: typer.Context, user: User, tenant: Tenant = "default", url: Url = None, as_json: AsJson = False
) -> None:
    """Disable an account and end its logins; tokens in use follow within 5 s."""
    _change(context, user, lambda: {"disabled": True}, tenant, url, as_json=as_json)


def enable(
    context: typer.Context, user: User, tenant: Tenant = "default", url: Url = None, as_json: AsJson = False
) -> None:
    """Let a disabled account log in again."""
    _change(context, user, lambda: {"disabled": False}, tenant, url, as_json=as_json)


def _change(
    context: typer.Context,
    user: str,
    body: Callable[[], dict[str, Any]],
    tenant: str,
    url: str | None,
    *,
    as_json: bool,
) -> None:
    caller, output = caller_of(context), Output(as_json=as_json)

    async def work() -> int:
        wanted = body()
        async with caller.administrator(url, tenant) as server:
            changed = await server.put(f"/users/{segment(user)}", wanted)
        output.json(changed)
        output.line(f"{changed.get('email')}: {changed.get('role')}, {_state(changed)}")
        return DONE

    carry_out_async(output, work)


def _state(user: dict[str, Any]) -> str:
    if user.get("disabled"):
        return "disabled"
    return "ready" if user.get("confirmed") else "to be confirmed"


def _read_password() -> str:
    """A password from a person, twice, or one line of standard input."""
    if not sys.stdin.isatty():
        return sys.stdin.readline().rstrip("\r\n")
    password = getpass.getpass("Password: ")
    if getpass.getpass("Once more: ") != password:
        raise WrongUseError("The two passwords are not the same.")
    return password
