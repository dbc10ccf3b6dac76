"""Signatures that any client of Standard Webhooks reads and writes, and the schedule of attempts."""

from __future__ import annotations

import base64
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from standardwebhooks import Webhook as Outside

from interlock.core.callback import NodeResult, Place, make_token, read_token
from interlock.core.errors import InterlockError
from interlock.core.webhook import MAX_ATTEMPTS, key_of, make_secret, retry_after, sign, traceparent, verify
from interlock.kit.clock import SystemClock

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
OLD, NEW = make_secret(b"o" * 32), make_secret(b"n" * 32)
RUN = UUID(int=7)
KEY = b"k" * 32


def refusal(secrets: tuple[str, ...], headers: dict[str, str], body: bytes, now: datetime = NOW) -> InterlockError:
    with pytest.raises(InterlockError) as refused:
        verify(secrets, headers, body, now)
    return refused.value


def test_the_published_example_has_the_published_signature() -> None:
    """J5."""
    secret, body = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", b'{"test": 2432232314}'
    at = datetime.fromtimestamp(1614265330, UTC)
    headers = sign([secret], "msg_p5jXN8AQM9LWM0D4loKWxJek", at, body)
    assert headers["webhook-signature"] == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
    assert verify([secret], headers, body, at) == "msg_p5jXN8AQM9LWM0D4loKWxJek"


@given(body=st.text(st.characters(exclude_categories=["Cs"])), random=st.binary(min_size=24, max_size=64))
def test_an_outside_client_verifies_what_we_sign_and_we_what_it_signs(body: str, random: bytes) -> None:
    """J5."""
    secret, at = make_secret(random), SystemClock().now()
    theirs = Outside(secret).sign("msg_1", at, body)
    assert sign([secret], "msg_1", at, body.encode())["webhook-signature"] == theirs
    headers = {"webhook-id": "msg_1", "webhook-timestamp": str(int(at.timestamp())), "webhook-signature": theirs}
    assert verify([secret], headers, body.encode(), at) == "msg_1"


def test_an_outside_client_that_checks_the_time_accepts_a_message_of_now() -> None:
    body = b'{"type": "execution.succeeded"}'
    headers = sign([NEW, OLD], "msg_2", SystemClock().now(), body)
    for secret in (NEW, OLD):
        assert Outside(secret).verify(body, headers) == {"type": "execution.succeeded"}


def test_while_rotating_either_secret_proves_a_message() -> None:
    """J5."""
    headers = sign([NEW, OLD], "m", NOW, b"x")
    assert len(headers["webhook-signature"].split(" ")) == 2
    assert verify([OLD], headers, b"x", NOW) == verify([NEW], headers, b"x", NOW) == "m"
    assert verify([NEW, OLD], sign([OLD], "m", NOW, b"x"), b"x", NOW) == "m"


@pytest.mark.parametrize("seconds", [-301, 301, 10_000_000])
def test_a_message_of_another_time_is_refused(seconds: int) -> None:
    headers = sign([NEW], "m", NOW + timedelta(seconds=seconds), b"x")
    assert refusal((NEW,), headers, b"x").code == "AUTHENTICATION_FAILED"
    assert verify([NEW], sign([NEW], "m", NOW + timedelta(seconds=300), b"x"), b"x", NOW) == "m"


@given(st.binary(max_size=30), st.integers(0, 29))
def test_a_changed_byte_is_noticed(body: bytes, place: int) -> None:
    headers = sign([NEW], "m", NOW, body)
    changed = bytearray(body or b"\0")
    changed[place % len(changed)] ^= 1
    assert refusal((NEW,), headers, bytes(changed)).code == "AUTHENTICATION_FAILED"


@pytest.mark.parametrize(
    "change",
    [
        {"webhook-signature": ""},
        {"webhook-signature": "v1,"},
        {"webhook-signature": "v1,é"},
        {"webhook-signature": "v1a," + base64.b64encode(b"x" * 64).decode()},
        {"webhook-timestamp": "1e9"},
        {"webhook-timestamp": "-1"},
        {"webhook-timestamp": "9" * 30},
        {"webhook-id": ""},
        {"webhook-id": "other"},
    ],
)
def test_headers_that_prove_nothing_are_refused(change: dict[str, str]) -> None:
    assert refusal((NEW,), {**sign([NEW], "m", NOW, b"x"), **change}, b"x").code == "AUTHENTICATION_FAILED"


@pytest.mark.parametrize("secret", ["", "whsec_", "whsec_AAAA", "x" * 44, "whsec_" + "A" * 100, "whsec_%%%"])
def test_a_text_that_is_no_secret_is_refused(secret: str) -> None:
    with pytest.raises(InterlockError, match="A secret is whsec_"):
        key_of(secret)


def test_the_waits_grow_over_hours_and_then_end() -> None:
    waits = [retry_after(failures, 0.5) for failures in range(1, MAX_ATTEMPTS)]
    seconds = [wait.total_seconds() for wait in waits if wait is not None]
    assert len(seconds) == MAX_ATTEMPTS - 1 == 10
    assert seconds == sorted(seconds)
    assert timedelta(hours=24) < timedelta(seconds=sum(seconds)) < timedelta(hours=36)
    assert retry_after(MAX_ATTEMPTS, 0.5) is None


@given(st.integers(1, MAX_ATTEMPTS - 1), st.floats(0, 1), st.none() | st.floats(0, 1e9))
def test_jitter_stays_within_a_fifth_and_a_longer_wish_is_kept_up_to_a_day(
    failures: int, chance: float, asked: float | None
) -> None:
    plain, wait = retry_after(failures, 0.5), retry_after(failures, chance, asked)
    assert plain is not None
    assert wait is not None
    assert wait >= plain * 0.79
    assert wait <= max(plain * 1.21, timedelta(seconds=min(asked or 0, 86_400)))
    if asked is not None and asked <= 86_400:
        assert wait >= timedelta(seconds=asked) - timedelta(milliseconds=1)


@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=40), st.integers(1, 10_000))
def test_a_token_names_its_attempt_and_nothing_else_takes_it(task_id: str, attempt: int) -> None:
    place = Place(task_id, attempt)
    token = make_token(KEY, "t", RUN, place)
    assert read_token(KEY, "t", RUN, token) == place
    assert read_token(b"other" * 6, "t", RUN, token) is None
    assert read_token(KEY, "u", RUN, token) is None
    assert read_token(KEY, "t", UUID(int=8), token) is None
    assert make_token(KEY, "t", RUN, Place(task_id, attempt + 1)).split(".")[0] != token.split(".")[0]


@given(st.text(max_size=80))
def test_a_guessed_token_is_no_token(guess: str) -> None:
    assert read_token(KEY, "t", RUN, guess) is None


def test_a_token_has_one_spelling_and_more_than_128_bits_of_proof() -> None:
    token = make_token(KEY, "t", RUN, Place("call", 1))
    assert len(token.split(".")[1]) * 6 >= 256
    for other in (token + "=", token + "A", token.upper(), token[:-1], " " + token, token.replace(".", "..")):
        assert read_token(KEY, "t", RUN, other) is None


def test_equal_answers_have_one_digest_whatever_the_order_of_their_keys() -> None:
    one, two = NodeResult(result={"a": 1, "b": [2]}), NodeResult(result={"b": [2], "a": 1})
    assert one.digest == two.digest != NodeResult(result={"a": 1}).digest


def test_only_a_standard_trace_goes_out_as_traceparent() -> None:
    trace, span = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
    assert traceparent(trace, span) == f"00-{trace}-{span}-01"
    assert traceparent("abc", span) is None
    assert traceparent("0" * 32, span) is None
