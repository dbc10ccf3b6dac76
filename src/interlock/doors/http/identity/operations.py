"""Every operation of this door."""

from __future__ import annotations

from typing import Any

from interlock.doors.http.identity import about, people
from interlock.doors.http.identity.door import IDENTITY
from interlock.doors.http.identity.shapes import (
    ChangeBody,
    LoginAnswer,
    LogoutQuery,
    SignUpBody,
    TokenBody,
    TokenQuery,
    User,
    VerifyQuery,
)
from interlock.doors.http.plumbing.operation import Handler, Keeping, Operation, Policy


def _operation(
    method: str,
    path: str,
    policy: Policy,
    summary: str,
    handler: Handler,
    failures: tuple[int, ...] = (),
    **rest: Any,
) -> Operation:
    """An operation; 404 is what it answers where another issuer has the accounts."""
    return Operation(
        method=method,
        path=path,
        door=IDENTITY,
        summary=summary,
        handler=handler,
        policy=policy,
        failures=(*failures, 404),
        tags=("identity",),
        **rest,
    )


OPERATIONS: tuple[Operation, ...] = (
    _operation(
        "POST",
        "/signup",
        Policy.OPEN,
        "Make an account",
        people.sign_up,
        body=SignUpBody,
        answer=LoginAnswer,
        failures=(409, 422),
        keeping=Keeping.ONCE,
        claimed=people.named_in,
    ),
    _operation(
        "POST",
        "/token",
        Policy.OPEN,
        "Log in, or stay logged in",
        people.token,
        body=TokenBody,
        query=TokenQuery,
        answer=LoginAnswer,
        failures=(400, 409, 422, 429),
        keeping=Keeping.ONCE,
        claimed=people.named_in,
    ),
    _operation(
        "GET",
        "/verify",
        Policy.OPEN,
        "Confirm an address by a mailed link",
        people.verify,
        query=VerifyQuery,
        is_change=True,
        media_type="text/plain",
        failures=(400,),
    ),
    _operation("GET", "/user", Policy.PROOF, "Who is logged in", people.get_user, answer=User),
    _operation(
        "PUT",
        "/user",
        Policy.PROOF,
        "Change one's own account",
        people.change_user,
        body=ChangeBody,
        answer=User,
        failures=(422,),
    ),
    _operation(
        "POST",
        "/logout",
        Policy.PROOF,
        "End logins",
        people.log_out,
        query=LogoutQuery,
        status=204,
    ),
    _operation("GET", "/health", Policy.OPEN, "Is the directory there", about.health),
    _operation("GET", "/settings", Policy.OPEN, "How one can log in", about.settings),
    _operation("GET", "/.well-known/jwks.json", Policy.OPEN, "Public keys of tokens", about.public_keys),
)
