"""Accounts of the built-in directory, for the administrators of a tenant."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from interlock.core.account import Account, AccountFilter
from interlock.core.errors import not_found
from interlock.core.principal import Role
from interlock.doors.http.app.executions import Limit, Offset
from interlock.doors.http.plumbing.described import Email, Password
from interlock.doors.http.plumbing.operation import Call, Reply
from interlock.doors.http.plumbing.replies import JsonReply
from interlock.kit.instants import rfc3339, rfc3339_or_none
from interlock.services.identity.administer import AdministerAccounts


class UsersQuery(msgspec.Struct, kw_only=True):
    """``search`` is a part of the address in any case."""

    search: Annotated[str, Meta(max_length=254)] | None = None
    role: Role | None = None
    state: Literal["ready", "unconfirmed", "disabled"] | None = None
    limit: Limit = 50
    offset: Offset = 0


class CreateUserBody(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """``confirmed`` false leaves the account waiting until somebody confirms it."""

    email: Email
    password: Password
    role: Role = Role.MEMBER
    confirmed: bool = True


class ChangeUserBody(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """What is left out stays as it is. Disabling, and another password, end all logins of the account."""

    role: Role | None = None
    confirmed: Literal[True] | None = None
    disabled: bool | None = None
    password: Password | None = None


class UserObject(msgspec.Struct, kw_only=True):
    user_id: str
    email: str
    role: str
    tenant_id: str
    confirmed: bool
    disabled: bool
    confirmed_at: str | None
    disabled_at: str | None
    last_sign_in_at: str | None
    created_at: str
    updated_at: str


class UserList(msgspec.Struct, kw_only=True):
    users: list[UserObject]
    total_count: int
    total: int
    has_more: bool


def user_object(account: Account) -> UserObject:
    """An account as an administrator sees it."""
    return UserObject(
        user_id=str(account.user_id),
        email=account.email,
        role=str(account.role),
        tenant_id=account.tenant_id,
        confirmed=account.confirmed_at is not None,
        disabled=account.disabled_at is not None,
        confirmed_at=rfc3339_or_none(account.confirmed_at),
        disabled_at=rfc3339_or_none(account.disabled_at),
        last_sign_in_at=rfc3339_or_none(account.last_login_at),
        created_at=rfc3339(account.created_at),
        updated_at=rfc3339(account.updated_at),
    )


async def list_users(call: Call[None, UsersQuery]) -> Reply:
    """Accounts of the tenant, oldest first; for the operator those of all tenants."""
    query = call.query
    accounts, total = await _accounts(call).list(
        call.principal,
        AccountFilter(email=query.search, role=query.role, state=query.state, limit=query.limit, offset=query.offset),
    )
    answer = UserList(
        users=[user_object(account) for account in accounts],
        total_count=total,
        total=total,
        has_more=query.offset + len(accounts) < total,
    )
    return JsonReply(answer)


async def create_user(call: Call[CreateUserBody, None]) -> Reply:
    """Make an account in the tenant."""
    body = call.body
    account = await _accounts(call).create(
        call.principal, email=body.email, password=body.password, role=body.role, is_confirmed=body.confirmed
    )
    call.acts_on(str(account.user_id), f"email={account.email} role={account.role}")
    return JsonReply(user_object(account), status=201)


async def change_user(call: Call[ChangeUserBody, None]) -> Reply:
    """Give an account another role or password, confirm its address, disable it or let it in again.

    The operator, an administrator of the tenant ``default``, does so for the accounts of all tenants.
    """
    body = call.body
    call.acts_on(call.path["user"], _changes(body))
    account = await _accounts(call).change(
        call.principal,
        call.path["user"],
        role=body.role,
        confirm=body.confirmed or False,
        disabled=body.disabled,
        password=body.password,
    )
    return JsonReply(user_object(account))


def _changes(body: ChangeUserBody) -> str:
    """What shall be set, for the audit log, which shows no password."""
    changes = {"role": body.role, "confirmed": body.confirmed, "disabled": body.disabled}
    words = [f"{name}={value}".lower() for name, value in changes.items() if value is not None]
    return " ".join((*words, *(["password"] if body.password is not None else [])))


def _accounts(call: Call[Any, Any]) -> AdministerAccounts:
    directory = call.services.directory
    if directory is None:
        raise not_found("NOT_FOUND", "This server has no user directory of its own; its issuer has the accounts")
    return directory.administer
