"""Forged and broken tokens (G7): each is refused, whatever it says about how it should be checked."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import AsyncIterator, Callable
from datetime import timedelta

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given, settings
from hypothesis import strategies as st

from interlock.backends.identity.by_issuer import IdentityByIssuer
from interlock.core.errors import ErrorKind, InterlockError
from interlock.kit.ids import RandomIds
from issuer_house import NOW, SECRET, Issuer, encoded, public_pem, running_issuer

STRANGER = ec.generate_private_key(ec.SECP256R1())
SECOND = int(NOW.timestamp())
HEADER = encoded({"alg": "ES256", "kid": "ec-1"})
DEEP_HEADER = encoded(b'{"a":' + b"[" * 3000)
NO_TEXT = encoded(b'{"iss":"\xff"}')


@pytest.fixture(scope="module")
async def issuer() -> AsyncIterator[Issuer]:
    async with running_issuer() as running:
        yield running


def unsigned(issuer: Issuer, algorithm: str) -> str:
    return f"{encoded({'alg': algorithm, 'kid': 'ec-1'})}.{encoded(issuer.claims())}."


def signed_with_public_key(issuer: Issuer, kid: str) -> str:
    """The classic swap: the public key, which everybody has, used as a shared secret."""
    head = f"{encoded({'alg': 'HS256', 'kid': kid})}.{encoded(issuer.claims())}"
    secret = public_pem(issuer.keys[kid])
    return f"{head}.{encoded(hmac.digest(secret, head.encode(), hashlib.sha256))}"


def forged(issuer: Issuer, **header: object) -> str:
    return jwt.encode(issuer.claims(), STRANGER, algorithm="ES256", headers={"kid": "ec-1", **header})


FORGED: dict[str, Callable[[Issuer], str]] = {
    "no algorithm": lambda issuer: unsigned(issuer, "none"),
    "no algorithm, other spelling": lambda issuer: unsigned(issuer, "nOnE"),
    "no algorithm, empty": lambda issuer: unsigned(issuer, ""),
    "an elliptic public key as secret": lambda issuer: signed_with_public_key(issuer, "ec-1"),
    "an RSA public key as secret": lambda issuer: signed_with_public_key(issuer, "rsa-1"),
    "the legacy secret where keys are public": lambda issuer: jwt.encode(
        issuer.claims(), SECRET, algorithm="HS256", headers={"kid": "ec-1"}
    ),
    "RS256 under the name of an elliptic key": lambda issuer: jwt.encode(
        issuer.claims(), issuer.rsa, algorithm="RS256", headers={"kid": "ec-1"}
    ),
    "ES256 under the name of an RSA key": lambda issuer: jwt.encode(
        issuer.claims(), issuer.ec, algorithm="ES256", headers={"kid": "rsa-1"}
    ),
    "RS512 by the right key": lambda issuer: jwt.encode(
        issuer.claims(), issuer.rsa, algorithm="RS512", headers={"kid": "rsa-1"}
    ),
    "PS256 by the right key": lambda issuer: jwt.encode(
        issuer.claims(), issuer.rsa, algorithm="PS256", headers={"kid": "rsa-1"}
    ),
    "an unknown critical extension": lambda issuer: issuer.token(header={"crit": ["x-ours"], "x-ours": 1}),
    "a critical extension that some know": lambda issuer: issuer.token(header={"crit": ["exp"]}),
    "an empty list of critical extensions": lambda issuer: issuer.token(header={"crit": []}),
    "a stranger's key": forged,
    "a stranger's key by address": lambda issuer: forged(issuer, jku="http://127.0.0.1:1/jwks.json"),
    "a stranger's certificate by address": lambda issuer: forged(issuer, x5u="http://127.0.0.1:1/cert.pem"),
    "a stranger's key inside": lambda issuer: forged(
        issuer, jwk=jwt.algorithms.ECAlgorithm.to_jwk(STRANGER.public_key(), as_dict=True)
    ),
    "a key name that is a path": lambda issuer: forged(issuer, kid="../../../../dev/null"),
    "a key name that is SQL": lambda issuer: forged(issuer, kid="' or '1'='1"),
    "a key name that is a number": lambda issuer: (
        f"{encoded({'alg': 'ES256', 'kid': 7})}.{encoded(issuer.claims())}.{encoded(b'x' * 64)}"
    ),
    "no key name": lambda issuer: jwt.encode(issuer.claims(), issuer.ec, algorithm="ES256"),
    "another audience": lambda issuer: issuer.token(aud="interlock"),
    "no audience": lambda issuer: issuer.token(aud=None),
    "an empty list of audiences": lambda issuer: issuer.token(aud=[]),
    "another issuer": lambda issuer: issuer.token(iss="https://evil.example/auth/v1"),
    "the issuer with a slash": lambda issuer: issuer.token(iss=f"{issuer.url}/"),
    "no issuer": lambda issuer: issuer.token(iss=None),
    "no subject": lambda issuer: issuer.token(sub=None),
    "an empty subject": lambda issuer: issuer.token(sub=""),
    "a subject that is a number": lambda issuer: issuer.token(sub=1),
    "no end": lambda issuer: issuer.token(exp=None),
    "an end that is now": lambda issuer: issuer.token(exp=SECOND),
    "an end that is no number": lambda issuer: issuer.token(exp="tomorrow"),
    "an end without end": lambda issuer: issuer.token(exp=float("inf")),
    "an end that was long ago": lambda issuer: issuer.token(exp=-1),
    "a beginning in eleven seconds": lambda issuer: issuer.token(nbf=SECOND + 11),
    "a beginning that is no number": lambda issuer: issuer.token(nbf="now"),
    "a service key": lambda issuer: issuer.token(role="service_role"),
    "a public key of the project": lambda issuer: issuer.token(role="anon"),
    "a guest": lambda issuer: issuer.token(is_anonymous=True),
    "a role that is none": lambda issuer: issuer.token(app_metadata={"interlock_role": "root"}),
    "a tenant that is empty": lambda issuer: issuer.token(app_metadata={"tenant_id": ""}),
    "a tenant that is a list": lambda issuer: issuer.token(app_metadata={"tenant_id": ["a"]}),
    "100 kB": lambda issuer: issuer.token(user_metadata={"text": "x" * 100_000}),
    "two dots only": lambda issuer: "..",
    "one dot": lambda issuer: "a.b",
    "five parts": lambda issuer: ".".join([*issuer.token().split("."), "a", "b"]),
    "nothing": lambda issuer: "",
    "a header that is no object": lambda issuer: f"{encoded([1])}.{encoded(issuer.claims())}.x",
    "a header as deep as it goes": lambda issuer: f"{DEEP_HEADER}.{encoded(issuer.claims())}.x",
    "claims as deep as they go": lambda issuer: f"{HEADER}.{encoded(b'[' * 5000)}.x",
    "claims that are no UTF-8": lambda issuer: f"{HEADER}.{NO_TEXT}.x",
    "the signature cut": lambda issuer: issuer.token()[:-4],
    "no signature": lambda issuer: issuer.token().rsplit(".", 1)[0] + ".",
    "other claims under a signature": lambda issuer: ".".join(
        [issuer.token().split(".")[0], encoded(issuer.claims(sub="somebody")), issuer.token().split(".")[2]]
    ),
}


@pytest.mark.parametrize("what", FORGED)
async def test_a_forged_token_is_refused(issuer: Issuer, what: str) -> None:
    token = FORGED[what](issuer)
    identity = issuer.identity()
    for refusing in (identity, IdentityByIssuer({issuer.url: identity})):
        with pytest.raises(InterlockError) as refused:
            await refusing.authenticate(token)
        assert refused.value.kind is ErrorKind.UNAUTHENTICATED
        assert refused.value.details["reason"] in ("missing_token", "invalid_token", "expired", "auth_failed")


async def test_the_same_tokens_unforged_are_taken(issuer: Issuer) -> None:
    identity = issuer.identity()
    for kid in ("ec-1", "rsa-1"):
        assert (await identity.authenticate(issuer.token(kid))).email == "ann@example.org"
    edges = ({"exp": SECOND + 1}, {"exp": SECOND + 1.5}, {"nbf": SECOND + 10}, {"aud": ["other", "authenticated"]})
    for changes in edges:
        assert await identity.authenticate(issuer.token(**changes))


LEGACY: dict[str, Callable[[Issuer], str]] = {
    "an elliptic key of one's own": lambda issuer: jwt.encode(issuer.claims(), STRANGER, algorithm="ES256"),
    "the issuer's elliptic key": lambda issuer: issuer.token(),
    "no algorithm": lambda issuer: unsigned(issuer, "none"),
    "another secret": lambda issuer: jwt.encode(issuer.claims(), SECRET + "x", algorithm="HS256"),
    "HS512": lambda issuer: jwt.encode(issuer.claims(), SECRET * 2, algorithm="HS512"),
    "the project's public key, signed with the same secret": lambda issuer: jwt.encode(
        {"iss": "supabase", "ref": "abc", "role": "anon", "exp": SECOND + 9999}, SECRET, algorithm="HS256"
    ),
    "the project's service key with everything else added": lambda issuer: issuer.legacy_token(role="service_role"),
}


@pytest.mark.parametrize("what", LEGACY)
async def test_a_legacy_issuer_takes_its_secret_and_nothing_else(issuer: Issuer, what: str) -> None:
    with pytest.raises(InterlockError) as refused:
        await issuer.identity(is_legacy=True).authenticate(LEGACY[what](issuer))
    assert refused.value.kind is ErrorKind.UNAUTHENTICATED


async def test_a_legacy_token_is_taken_without_a_key_fetch(issuer: Issuer) -> None:
    before = issuer.key_fetches
    assert (await issuer.identity(is_legacy=True).authenticate(issuer.legacy_token())).subject
    assert issuer.key_fetches == before


async def test_a_thousand_random_key_names_cost_one_fetch_a_minute() -> None:
    async with running_issuer() as issuer:
        identity = issuer.identity()
        for number in range(1000):
            if number and number % 250 == 0:
                issuer.clock.advance(timedelta(seconds=60))
            with pytest.raises(InterlockError) as refused:
                await identity.authenticate(issuer.token(f"{RandomIds().new()}"))
            assert refused.value.kind is ErrorKind.UNAUTHENTICATED
        assert issuer.key_fetches == 4
        issuer.clock.advance(timedelta(seconds=59))
        assert await identity.authenticate(issuer.token())
        assert issuer.key_fetches == 4


@settings(max_examples=200, deadline=None)
@given(parts=st.lists(st.binary(max_size=200), min_size=1, max_size=5), text=st.text(max_size=300))
async def test_no_bytes_at_all_make_it_fail_otherwise(issuer: Issuer, parts: list[bytes], text: str) -> None:
    identity = IdentityByIssuer({issuer.url: issuer.identity()})
    for token in (text, ".".join(encoded(part) for part in parts)):
        with pytest.raises(InterlockError) as refused:
            await identity.authenticate(token)
        assert refused.value.kind is ErrorKind.UNAUTHENTICATED
