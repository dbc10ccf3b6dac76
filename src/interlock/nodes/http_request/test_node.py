from __future__ import annotations

from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interlock.core.effects import effect_key
from interlock.kit import strict_json
from interlock.nodes.http_request.answer import read_answer
from interlock.nodes.http_request.node import NODE
from interlock.nodes.testing import KeptServices, ScriptedEgress, run_node
from interlock.ports.egress import EgressResponse
from interlock.ports.node import Done, NodeFailed

URL = "https://service.example/things?key=secret"


def _answer(
    body: bytes = b"", *, status: int = 200, content_type: str = "application/json", truncated: bool = False
) -> EgressResponse:
    return EgressResponse(status, {"content-type": content_type}, body, truncated)


def _call(parameters: dict[str, Any], answer: EgressResponse | None = None) -> tuple[Any, dict[str, Any]]:
    egress = ScriptedEgress([answer or _answer(b"{}")])
    outcome = run_node(NODE, {"url": URL, **parameters}, KeptServices(egress))
    assert isinstance(outcome, Done)
    return outcome.output, egress.calls[0]


def test_a_get_without_more_is_plain() -> None:
    _, call = _call({})
    assert call == {
        "method": "GET",
        "url": URL,
        "headers": {},
        "body": None,
        "timeout": 30.0,
        "max_bytes": 1_048_576,
        "follow_redirects": False,
    }


def test_a_json_answer_is_given_as_text_and_as_json() -> None:
    output, _ = _call({}, _answer(b'{"a": [1, 2]}'))
    assert output == {
        "status_code": 200,
        "headers": {"content-type": "application/json"},
        "body": '{"a": [1, 2]}',
        "json": {"a": [1, 2]},
    }


@pytest.mark.parametrize(
    ("body", "content_type"),
    [(b"{}", "text/html"), (b"{", "application/json"), (b'{"a":1,"a":2}', "application/json"), (b"NaN", "text/json")],
)
def test_an_answer_that_is_no_json_has_none(body: bytes, content_type: str) -> None:
    output, _ = _call({}, _answer(body, content_type=content_type))
    assert "json" not in output
    assert output["body"] == body.decode()


def test_a_cut_answer_says_so_and_is_not_read_as_json() -> None:
    output, _ = _call({}, _answer(b"12", truncated=True))
    assert output["truncated"] is True
    assert "json" not in output


def test_the_charset_of_the_answer_is_respected() -> None:
    output, _ = _call({}, _answer("grün".encode("latin-1"), content_type="text/plain; charset=ISO-8859-1"))
    assert output["body"] == "grün"


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "post"])
def test_calls_that_change_something_carry_the_effect_key(method: str) -> None:
    _, call = _call({"method": method})
    assert call["headers"] == {"Idempotency-Key": effect_key(UUID(int=1), "task")}


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS"])
def test_calls_that_only_read_carry_no_effect_key(method: str) -> None:
    _, call = _call({"method": method})
    assert call["headers"] == {}


def test_an_idempotency_key_of_the_author_is_kept() -> None:
    _, call = _call({"method": "POST", "headers": {"idempotency-key": "mine"}})
    assert call["headers"] == {"idempotency-key": "mine"}


@pytest.mark.parametrize(
    ("body", "sent", "content_type"),
    [
        ({"a": "ä"}, '{"a":"ä"}'.encode(), "application/json"),
        ([], b"[]", "application/json"),
        (False, b"false", "application/json"),
        ("text", b"text", "text/plain; charset=utf-8"),
        ("", b"", "text/plain; charset=utf-8"),
    ],
)
def test_a_text_is_sent_as_it_is_and_anything_else_as_json(body: Any, sent: bytes, content_type: str) -> None:
    _, call = _call({"method": "POST", "body": body})
    assert call["body"] == sent
    assert call["headers"]["Content-Type"] == content_type


def test_a_content_type_of_the_author_is_kept() -> None:
    _, call = _call({"method": "PUT", "body": {"a": 1}, "headers": {"content-type": "application/vnd.x+json", "n": 1}})
    assert call["headers"]["content-type"] == "application/vnd.x+json"
    assert call["headers"]["n"] == "1"
    assert "Content-Type" not in call["headers"]


@pytest.mark.parametrize(
    ("status", "retryable"),
    [(400, False), (404, False), (408, True), (409, False), (429, True), (500, True), (503, True)],
)
def test_a_status_of_400_or_more_fails_and_says_whether_to_try_again(status: int, retryable: bool) -> None:
    with pytest.raises(NodeFailed) as caught:
        _call({}, _answer(b"no", status=status, content_type="text/plain"))
    assert caught.value.code == "HTTP_STATUS"
    assert caught.value.retryable is retryable
    assert caught.value.details == {"status_code": status, "body": "no"}
    assert caught.value.message == f"GET https://service.example/things answered {status}"


def test_a_redirect_is_an_answer() -> None:
    output, _ = _call({}, _answer(status=302))
    assert output["status_code"] == 302


@pytest.mark.parametrize(
    "parameters",
    [
        {"url": ""},
        {"url": None},
        {"url": 5},
        {"method": "BREW"},
        {"headers": "a: b"},
        {"headers": {"a": None}},
        {"headers": {"a": ["b"]}},
        {"timeout": 0},
        {"timeout": 120.5},
        {"timeout": "30"},
        {"timeout": True},
        {"timeout": float("nan")},
    ],
)
def test_parameters_that_turn_out_wrong_at_run_time_are_named(parameters: dict[str, Any]) -> None:
    with pytest.raises(NodeFailed) as caught:
        _call(parameters)
    assert caught.value.code == "PARAMETER_INVALID"
    assert next(iter(parameters)) in caught.value.message


@given(st.binary(max_size=200), st.text(max_size=30))
def test_any_answer_becomes_json_that_can_be_stored(body: bytes, content_type: str) -> None:
    output = read_answer(EgressResponse(200, {"content-type": content_type}, body, False))
    assert strict_json.decode(strict_json.encode(output)) == output
