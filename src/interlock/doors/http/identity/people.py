"""Logging in and out, and one's own account."""

from __future__ import annotations

from typing import Any

from interlock.core.account import Account, Held
from interlock.core.errors import ErrorKind, InterlockError, invalid, not_found, rule_broken
from interlock.core.principal import SCOPES_OF, Principal
from interlock.doors.http.identity.shapes import (
    ChangeBody,
    LogoutQuery,
    SignUpBody,
    TokenBody,
    TokenQuery,
    VerifyQuery,
    login_answer,
    user,
)
from interlock.doors.http.plumbing.client import network_of
from interlock.doors.http.plumbing.credentials import missing_credential
from interlock.doors.http.plumbing.operation import Call, Reply
from interlock.doors.http.plumbing.replies import NO_STORE, BytesReply, EmptyReply, JsonReply
from interlock.services.identity.bundle import DirectoryServices


def directory_of(call: Call[Any, Any]) -> DirectoryServices:
    """The built-in directory. Raises NOT_FOUND where another issuer has the accounts."""
    directory = call.services.directory
    if directory is None:
        raise not_found("NOT_FOUND", "This server has no user directory of its own; log in with its issuer")
    return directory


async def sign_up(call: Call[SignUpBody, None]) -> Reply:
    """Make an account; where it counts at once, log in as well."""
    directory = directory_of(call)
    body = call.body
    if not body.email and not body.password:
        raise rule_broken("ANONYMOUS_PROVIDER_DISABLED", "Guests cannot log in here; send email and password")
    call.acts_on(_address(body.email))
    account = await directory.own_accounts.sign_up(body.email, body.password, body.data or {})
    if not directory.own_accounts.confirms_at_once:
        return JsonReply(user(account), headers=NO_STORE)  # of a taken address, somebody who is not there
    _act_as(call, account)
    return JsonReply(login_answer(await directory.log_in.open(account)), headers=NO_STORE)


def named_in(body: SignUpBody | TokenBody) -> str:
    """Who the caller says it is: an address, or the bearer of a refresh token."""
    return body.email.strip().lower() or getattr(body, "refresh_token", "")


async def verify(call: Call[None, VerifyQuery]) -> Reply:
    """Confirm the address that the link was mailed to; a person reads the answer."""
    confirm = directory_of(call).confirm
    if confirm is None:
        raise not_found("NOT_FOUND", "This server mails no links; ask an administrator to confirm the address")
    account = await confirm.confirm(call.query.token)
    _act_as(call, account)
    text = f"The address {account.email} is confirmed. You can log in now.\n"
    return BytesReply(text.encode(), media_type="text/plain; charset=utf-8", headers=NO_STORE)


async def token(call: Call[TokenBody, TokenQuery]) -> Reply:
    """Log in with a password, or stay logged in with a refresh token, which is used up by that."""
    directory = directory_of(call)
    match call.query.grant_type:
        case "password":
            call.acts_on(_address(call.body.email))
            address = network_of(call.context.limits.client_of(call.scope))
            login = await directory.log_in.with_password(call.body.email, call.body.password, address)
        case "refresh_token":
            login = await directory.log_in.with_refresh_token(call.body.refresh_token)
        case _:
            raise invalid("INVALID_REQUEST", "grant_type must be password or refresh_token", field="grant_type")
    _act_as(call, login.account)
    return JsonReply(login_answer(login), headers=NO_STORE)


async def get_user(call: Call[None, None]) -> Reply:
    """Who is logged in."""
    _, account = await _bearer(call)
    return JsonReply(user(account), headers=NO_STORE)


async def change_user(call: Call[ChangeBody, None]) -> Reply:
    """Change one's password, which ends all other logins, or what one says about oneself."""
    held, account = await _bearer(call)
    if call.body.email is not None and call.body.email.strip().lower() != account.email:
        raise rule_broken("EMAIL_CHANGE_DISABLED", "An address cannot be changed here; ask an administrator")
    changed = await directory_of(call).own_accounts.change(
        held, account, password=call.body.password, user_metadata=call.body.data
    )
    return JsonReply(user(changed), headers=NO_STORE)


async def log_out(call: Call[None, LogoutQuery]) -> Reply:
    """End logins: refresh tokens are of no use at once, access tokens within 5 s."""
    held, _ = await _bearer(call)
    await directory_of(call).log_in.leave(held, call.query.scope)
    return EmptyReply(204)


async def _bearer(call: Call[Any, Any]) -> tuple[Held, Account]:
    directory = directory_of(call)
    if not call.credential:
        raise missing_credential()
    if call.principal.kind != "user":
        raise InterlockError(ErrorKind.DENIED, "AUTHORIZATION_FAILED", "This is for people who have logged in here")
    return await directory.own_accounts.bearer(call.credential)


def _address(text: str) -> str:
    """What somebody gave as their address, unless it can be none: it may be a password in the wrong field."""
    return text.strip().lower() if "@" in text else ""


def _act_as(call: Call[Any, Any], account: Account) -> None:
    """From here on it is known who calls, for the logs too. Raises UNAUTHENTICATED for a disabled tenant."""
    call.exchange.principal = call.services.access.gate.admit(
        Principal(
            subject=str(account.user_id),
            tenant_id=account.tenant_id,
            scopes=SCOPES_OF[account.role],
            email=account.email,
            role=account.role,
        )
    )
