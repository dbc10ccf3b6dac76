"""People of an external issuer: what their claims give them, what is remembered, and what if the issuer is away."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from interlock.core.errors import ErrorKind, InterlockError
from interlock.core.principal import SCOPES_OF, Role, Scope
from issuer_house import NOW, SUBJECT, Issuer, running_issuer


@pytest.fixture
async def issuer() -> AsyncIterator[Issuer]:
    async with running_issuer() as running:
        yield running


async def refusal(awaited: object) -> InterlockError:
    with pytest.raises(InterlockError) as refused:
        await awaited  # type: ignore[misc]
    return refused.value


async def test_a_person_has_a_tenant_of_their_own_and_is_a_member_whatever_they_write_about_themselves(
    issuer: Issuer,
) -> None:
    principal = await issuer.identity().authenticate(issuer.token())
    assert (principal.subject, principal.tenant_id, principal.role) == (SUBJECT, SUBJECT, Role.MEMBER)
    assert principal.scopes == SCOPES_OF[Role.MEMBER]
    assert not principal.has_scope(Scope.ADMIN)
    assert principal.kind == "user"


@pytest.mark.parametrize("role", Role)
async def test_the_issuers_administrator_gives_role_and_tenant(issuer: Issuer, role: Role) -> None:
    token = issuer.token(app_metadata={"interlock_role": str(role), "tenant_id": "acme"})
    principal = await issuer.identity().authenticate(token)
    assert (principal.tenant_id, principal.role, principal.scopes) == ("acme", role, SCOPES_OF[role])


async def test_a_guest_comes_in_only_where_guests_are_wanted(issuer: Issuer) -> None:
    token = issuer.token(is_anonymous=True, email="")
    assert (await refusal(issuer.identity().authenticate(token))).details["reason"] == "auth_failed"
    principal = await issuer.identity(allows_guests=True).authenticate(token)
    assert (principal.kind, principal.email) == ("guest", None)


async def test_an_address_must_be_confirmed_and_the_answer_is_believed_for_a_minute(issuer: Issuer) -> None:
    identity, token = issuer.identity(), issuer.token()
    issuer.users[SUBJECT]["email_confirmed_at"] = None
    assert (await refusal(identity.authenticate(token))).details["reason"] == "email_not_confirmed"
    issuer.users[SUBJECT]["email_confirmed_at"] = "2026-11-22T09:00:00Z"
    for _ in range(5):
        await identity.authenticate(token)
    assert issuer.user_questions == 2, "a refusal is not remembered, a success is"
    issuer.users[SUBJECT]["email_confirmed_at"] = None
    issuer.clock.advance(timedelta(seconds=59))
    assert await identity.authenticate(token)
    issuer.clock.advance(timedelta(seconds=1))
    assert (await refusal(identity.authenticate(token))).details["reason"] == "email_not_confirmed"


async def test_a_login_that_the_issuer_ends_is_over_within_a_minute(issuer: Issuer) -> None:
    identity, token = issuer.identity(), issuer.token()
    assert await identity.authenticate(token)
    issuer.user_status, issuer.keys = 403, {}
    issuer.clock.advance(timedelta(seconds=60))
    assert (await refusal(identity.authenticate(token))).details["reason"] == "auth_failed"
    issuer.user_status = 503
    assert (await refusal(identity.authenticate(token))).kind is ErrorKind.UNAVAILABLE, "what it said before is void"


async def test_an_issuer_that_is_away_has_its_last_word_believed_for_five_minutes(issuer: Issuer) -> None:
    identity, token = issuer.identity(), issuer.token()
    assert await identity.authenticate(token)
    issuer.user_status = 503
    for seconds in (60, 179):
        issuer.clock.advance(timedelta(seconds=seconds))
        assert (await identity.authenticate(token)).subject == SUBJECT
    assert (await refusal(identity.authenticate(issuer.token(jti="new")))).kind is ErrorKind.UNAVAILABLE
    issuer.clock.advance(timedelta(seconds=60))
    assert (await refusal(identity.authenticate(token))).kind is ErrorKind.UNAVAILABLE


async def test_a_token_is_not_believed_beyond_its_end(issuer: Issuer) -> None:
    identity, token = issuer.identity(), issuer.token(exp=int(NOW.timestamp()) + 100)
    assert await identity.authenticate(token)
    issuer.clock.advance(timedelta(seconds=100))
    assert (await refusal(identity.authenticate(token))).details["reason"] == "expired"


async def test_a_token_that_shares_everything_but_its_end_inherits_nothing(issuer: Issuer) -> None:
    identity, token = issuer.identity(), issuer.token()
    assert await identity.authenticate(token)
    last = "A" if token[-10] != "A" else "B"
    other = token[:-10] + last + token[-9:]
    assert (await refusal(identity.authenticate(other))).kind is ErrorKind.UNAUTHENTICATED


async def test_requests_that_come_at_once_share_one_check(issuer: Issuer) -> None:
    identity, token = issuer.identity(), issuer.token()
    principals = await asyncio.gather(*(identity.authenticate(token) for _ in range(50)))
    assert len(set(principals)) == 1
    assert (issuer.key_fetches, issuer.user_questions) == (1, 1)


async def test_a_caller_who_leaves_takes_nobody_along(issuer: Issuer) -> None:
    identity, token = issuer.identity(), issuer.token()
    leaving, staying = (asyncio.create_task(identity.authenticate(token)) for _ in range(2))
    await asyncio.sleep(0)
    leaving.cancel()
    assert (await staying).subject == SUBJECT


@pytest.mark.parametrize("status", [401, 403, 404])
async def test_a_login_that_the_issuer_has_ended_is_over(issuer: Issuer, status: int) -> None:
    issuer.user_status = status
    assert (await refusal(issuer.identity().authenticate(issuer.token()))).details["reason"] == "auth_failed"


async def test_an_answer_about_somebody_else_is_no_answer(issuer: Issuer) -> None:
    issuer.users[SUBJECT]["id"] = "somebody"
    assert (await refusal(issuer.identity().authenticate(issuer.token()))).details["reason"] == "auth_failed"


@pytest.mark.parametrize("status", [302, 429, 500, 503])
async def test_an_issuer_that_cannot_say_means_later_and_never_yes(issuer: Issuer, status: int) -> None:
    issuer.user_status = status
    error = await refusal(issuer.identity().authenticate(issuer.token()))
    assert (error.kind, error.retryable) == (ErrorKind.UNAVAILABLE, True)
    issuer.user_status, issuer.status = 200, status
    assert (await refusal(issuer.identity().authenticate(issuer.token()))).kind is ErrorKind.UNAVAILABLE


async def test_an_issuer_that_is_not_there_means_later_and_never_yes(issuer: Issuer) -> None:
    identity, url = issuer.identity(), issuer.url
    issuer.url = "http://127.0.0.1:1/auth/v1"
    away, token = issuer.identity(), issuer.token()
    assert (await refusal(away.authenticate(token))).kind is ErrorKind.UNAVAILABLE
    issuer.url = url
    assert await identity.authenticate(issuer.token())


async def test_known_keys_outlive_the_issuer_for_ten_minutes(issuer: Issuer) -> None:
    identity = issuer.identity()
    assert await identity.authenticate(issuer.token())
    issuer.status = 500
    issuer.clock.advance(timedelta(seconds=599))
    assert await identity.authenticate(issuer.token(jti="2"))
    assert (await refusal(identity.authenticate(issuer.token("new")))).kind is ErrorKind.UNAVAILABLE
    issuer.clock.advance(timedelta(seconds=1))
    assert (await refusal(identity.authenticate(issuer.token(jti="3")))).kind is ErrorKind.UNAVAILABLE
    assert issuer.key_fetches == 2, "a fetch that failed is not repeated within a minute either"
    issuer.status = 200
    issuer.clock.advance(timedelta(seconds=60))
    assert await identity.authenticate(issuer.token(jti="4"))


async def test_a_new_key_is_found_with_one_fetch_and_a_withdrawn_one_is_forgotten(issuer: Issuer) -> None:
    identity = issuer.identity()
    old = issuer.token(jti="old")
    assert await identity.authenticate(issuer.token())
    issuer.keys = {"ec-2": ec.generate_private_key(ec.SECP256R1())}
    issuer.clock.advance(timedelta(seconds=60))
    assert await identity.authenticate(issuer.token("ec-2"))
    assert issuer.key_fetches == 2
    issuer.clock.advance(timedelta(seconds=60))
    assert (await refusal(identity.authenticate(old))).details["reason"] == "invalid_token"


@pytest.mark.filterwarnings("ignore::jwt.warnings.InsecureKeyLengthWarning")
async def test_keys_that_are_not_fit_are_left_out(issuer: Issuer) -> None:
    issuer.keys |= {
        "weak": rsa.generate_private_key(65537, 1024),
        "curve": ec.generate_private_key(ec.SECP384R1()),
        "sealing": issuer.ec,
        "other": issuer.rsa,
    }
    issuer.changes = {"sealing": {"use": "enc"}, "other": {"alg": "PS256"}, "curve": {"alg": "ES384"}}
    identity = issuer.identity()
    for kid, algorithm in (("weak", "RS256"), ("curve", "ES384"), ("sealing", "ES256"), ("other", "RS256")):
        token = jwt.encode(issuer.claims(), issuer.keys[kid], algorithm=algorithm, headers={"kid": kid})
        assert (await refusal(identity.authenticate(token))).kind is ErrorKind.UNAUTHENTICATED, kid
    assert await identity.authenticate(issuer.token())


async def test_a_list_with_a_shared_secret_in_it_gives_no_key(issuer: Issuer) -> None:
    issuer.changes = {"ec-1": {"kty": "oct", "k": "c2VjcmV0", "alg": "HS256"}}
    token = jwt.encode(issuer.claims(), b"secret" * 6, algorithm="HS256", headers={"kid": "ec-1"})
    assert (await refusal(issuer.identity().authenticate(token))).kind is ErrorKind.UNAUTHENTICATED
