"""What comes in and goes out at this door. Fields that a client sends beside these are left alone."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from msgspec import Meta

from interlock.core.account import ACCESS_LIFETIME, Account
from interlock.kit.instants import rfc3339
from interlock.services.identity.log_in import Login

AUDIENCE = "authenticated"
Text = Annotated[str, Meta(max_length=4096)]


class TokenQuery(msgspec.Struct, kw_only=True):
    grant_type: Text = ""


class TokenBody(msgspec.Struct, kw_only=True):
    """``email`` and ``password`` for the grant ``password``, ``refresh_token`` for the other one."""

    email: Text = ""
    password: Text = ""
    refresh_token: Text = ""


class SignUpBody(msgspec.Struct, kw_only=True):
    """``data`` is what the person says about themselves; nothing is ever allowed because of it."""

    email: Text = ""
    password: Text = ""
    data: dict[str, Any] | None = None


class ChangeBody(msgspec.Struct, kw_only=True):
    email: Text | None = None
    password: Text | None = None
    data: dict[str, Any] | None = None


class VerifyQuery(msgspec.Struct, kw_only=True):
    """What stands in a mailed link."""

    type: Annotated[str, Meta(pattern="^signup$")] = "signup"
    token: Text = ""


class LogoutQuery(msgspec.Struct, kw_only=True):
    """``global`` ends all logins of the person, ``local`` this one, ``others`` all but this."""

    scope: Annotated[str, Meta(pattern="^(global|local|others)$")] = "global"


class User(msgspec.Struct, kw_only=True):
    id: str
    aud: str
    role: str
    email: str
    email_confirmed_at: str | None
    last_sign_in_at: str | None
    created_at: str
    updated_at: str
    app_metadata: dict[str, Any]
    user_metadata: dict[str, Any]
    is_anonymous: bool = False


class LoginAnswer(msgspec.Struct, kw_only=True):
    access_token: str
    token_type: str
    expires_in: int
    expires_at: int
    refresh_token: str
    user: User


def user(account: Account) -> User:
    """An account as clients of this shape know it."""
    return User(
        id=str(account.user_id),
        aud=AUDIENCE,
        role=AUDIENCE,
        email=account.email,
        email_confirmed_at=None if account.confirmed_at is None else rfc3339(account.confirmed_at),
        last_sign_in_at=None if account.last_login_at is None else rfc3339(account.last_login_at),
        created_at=rfc3339(account.created_at),
        updated_at=rfc3339(account.updated_at),
        app_metadata={
            "provider": "email",
            "providers": ["email"],
            "interlock_role": str(account.role),
            "tenant_id": account.tenant_id,
        },
        user_metadata=account.user_metadata,
    )


def login_answer(login: Login) -> LoginAnswer:
    """A login as clients of this shape know it."""
    return LoginAnswer(
        access_token=login.access_token,
        token_type="bearer",  # noqa: S106 - what kind of token it is
        expires_in=int(ACCESS_LIFETIME.total_seconds()),
        expires_at=login.expires_at,
        refresh_token=login.refresh_token,
        user=user(login.account),
    )
