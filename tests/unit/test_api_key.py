"""API keys as text: what is ours is told from what is not without asking anybody, and only a keyed hash is kept."""

from __future__ import annotations

import base64
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interlock.core.api_key import (
    LETTERS,
    PUBLIC_ID_LENGTH,
    SECRET_LENGTH,
    ApiKey,
    digest_of,
    matches,
    public_id_of,
    write_key,
)
from interlock.core.principal import Tier
from interlock.core.signed_request import SignedRequest, as_text, from_text, signing_secret
from interlock.kit.ids import CountingIds

NOW = datetime(2026, 11, 22, tzinfo=UTC)
PEPPER = b"a pepper that only the server knows"
public_ids = st.text(LETTERS, min_size=PUBLIC_ID_LENGTH, max_size=PUBLIC_ID_LENGTH)
secrets = st.text(LETTERS, min_size=SECRET_LENGTH, max_size=SECRET_LENGTH)
places = st.integers(0, len(write_key("live", "0" * PUBLIC_ID_LENGTH, "0" * SECRET_LENGTH)) - 1)


def key(**changes: Any) -> ApiKey:
    plain = {
        "key_id": CountingIds().new(),
        "public_id": "0" * PUBLIC_ID_LENGTH,
        "tenant_id": "t",
        "client_name": "n",
        "scopes": ("tools:read",),
        "tier": Tier.STANDARD,
        "created_at": NOW,
        "created_by": "ann",
        "last4": "abcd",
    }
    return ApiKey(**{**plain, **changes})


@given(public_ids, secrets)
def test_a_key_that_was_written_names_its_public_id(public_id: str, secret: str) -> None:
    assert public_id_of(write_key("live", public_id, secret)) == public_id


@given(public_ids, secrets, places, st.sampled_from(LETTERS + "-é "))
def test_a_key_with_one_wrong_letter_is_none(public_id: str, secret: str, place: int, letter: str) -> None:
    text = write_key("live", public_id, secret)
    wrong = text[:place] + letter + text[place + 1 :]
    assert wrong == text or public_id_of(wrong) is None


@given(st.text())
def test_no_other_text_is_a_key(text: str) -> None:
    assert public_id_of(text) is None


@given(public_ids, secrets, secrets)
def test_only_the_whole_key_matches_its_hash_and_only_under_the_pepper(public_id: str, secret: str, other: str) -> None:
    text = write_key("live", public_id, secret)
    digest = digest_of(text, PEPPER)
    assert matches(text, digest, [PEPPER])
    assert matches(text, digest, [b"a newer pepper", PEPPER])
    assert not matches(text, digest, [b"another pepper"])
    assert secret == other or not matches(write_key("live", public_id, other), digest, [PEPPER])
    assert secret.encode() not in digest


def test_a_key_is_good_until_it_ends_or_is_revoked() -> None:
    soon = NOW + timedelta(seconds=1)
    assert key().is_good(NOW)
    assert key(expires_at=soon).is_good(NOW)
    assert not key(expires_at=soon).is_good(soon)
    assert not key(revoked_at=NOW).is_good(NOW)


def test_the_caller_with_a_key_has_what_the_key_was_made_with() -> None:
    found = key(tier=Tier.PREMIUM, allowed_models=("m",)).principal()
    assert (found.kind, found.tenant_id, found.tier, found.scopes) == ("key", "t", "premium", {"tools:read"})
    assert (found.allowed_models, found.allowed_tools) == ({"m"}, None)


# Signatures -----------------------------------------------------------------------------------------------------


CHECK = SignedRequest(
    public_id="whatever",
    timestamp="1790000000",
    nonce="n0nce-0123456789",
    signature="v1=fabca7c9f796731e51b9a0875fd0d193f23b5a7c099ee6ff464d07af4d6ab45f",
    method="POST",
    raw_path=b"/api/mcp/invoke",
    raw_query=b"",
    body=b'{"name":"get_node_types","arguments":{}}',
)
SECRET = from_text("AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8")


def test_the_published_check_value_holds() -> None:
    assert f"v1={CHECK.sign(SECRET)}" == CHECK.signature
    assert CHECK.is_signed_with(SECRET)
    assert CHECK.is_well_formed()


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("method", "GET"),
        ("raw_path", b"/api/mcp/invoke/"),
        ("raw_query", b"a=1"),
        ("timestamp", "1790000001"),
        ("nonce", "n0nce-0123456780"),
        ("body", b'{"name":"get_node_types","arguments": {}}'),
    ],
)
def test_a_signature_covers_every_part_of_a_request(field: str, value: Any) -> None:
    parts = {name: getattr(CHECK, name) for name in CHECK.__struct_fields__}
    assert not SignedRequest(**{**parts, field: value}).is_signed_with(SECRET)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("timestamp", ""),
        ("timestamp", "-1"),
        ("timestamp", "1790000000.5"),
        ("timestamp", "١٧٩"),
        ("timestamp", "9" * 400),
        ("nonce", "short"),
        ("nonce", "n" * 65),
        ("nonce", "n0nce 0123456789"),
        ("signature", "fabca7c9"),
    ],
)
def test_headers_that_cannot_be_a_signature_are_told_before_anything_is_asked(field: str, value: str) -> None:
    parts = {name: getattr(CHECK, name) for name in CHECK.__struct_fields__}
    assert not SignedRequest(**{**parts, field: value}).is_well_formed()


@pytest.mark.parametrize(("seconds", "holds"), [(0, True), (299, True), (-299, True), (301, False), (-301, False)])
def test_a_request_is_in_time_for_five_minutes_either_way(seconds: int, holds: bool) -> None:
    assert CHECK.is_in_time(1_790_000_000 + seconds) is holds


@given(public_ids, st.binary(min_size=32, max_size=48))
def test_a_signing_secret_comes_back_from_its_text(public_id: str, pepper: bytes) -> None:
    secret = signing_secret(public_id, pepper)
    assert from_text(as_text(secret)) == secret
    assert len(secret) == 32
    assert signing_secret(public_id + "x", pepper) != secret
    assert base64.urlsafe_b64encode(secret).decode().startswith(as_text(secret))
