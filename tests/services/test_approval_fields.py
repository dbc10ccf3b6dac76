"""Answers must fill in the fields of their question."""

from __future__ import annotations

from typing import Any

import pytest

from interlock.core.errors import ErrorKind, InterlockError
from interlock.services.approvals.fields import check_fields


def at_most_ten(schema: dict[str, Any], value: Any) -> list[str]:
    """A schema checker that knows ``maximum``."""
    return ["is too much"] if value > schema["maximum"] else []


FIELDS: list[dict[str, Any]] = [
    {"name": "amount", "field_type": "number", "required": True, "validation": {"maximum": 10}},
    {"name": "way", "field_type": "select", "options": ["rail", {"value": "road", "label": "By road"}]},
    {"name": "tags", "field_type": "multiselect", "options": ["a", "b"]},
    {"name": "note"},
    {"name": "sure", "field_type": "boolean"},
    {"name": "shape", "field_type": "something-new"},
]


@pytest.mark.parametrize(
    "data",
    [
        {"amount": 10},
        {"amount": 0, "way": "road", "tags": ["a", "b"], "note": "x", "sure": False},
        {"amount": 1.5, "way": None, "note": "", "tags": []},
        {"amount": 1, "more": "than asked", "shape": {"any": 1}},
    ],
)
def test_complete_answers_pass(data: dict[str, Any]) -> None:
    check_fields(FIELDS, data, at_most_ten)


@pytest.mark.parametrize(
    ("data", "wrong"),
    [
        (None, ["data.amount"]),
        ({}, ["data.amount"]),
        ({"amount": ""}, ["data.amount"]),
        ({"amount": "1"}, ["data.amount"]),
        ({"amount": True}, ["data.amount"]),
        ({"amount": 11}, ["data.amount"]),
        ({"amount": 1, "way": "boat"}, ["data.way"]),
        ({"amount": 1, "tags": "a"}, ["data.tags"]),
        ({"amount": 1, "tags": ["a", "c"]}, ["data.tags"]),
        ({"amount": 1, "note": 7}, ["data.note"]),
        ({"amount": 1, "sure": 1}, ["data.sure"]),
        ({"note": 7, "way": "boat"}, ["data.amount", "data.way", "data.note"]),
    ],
)
def test_all_wrong_fields_are_named_at_once(data: Any, wrong: list[str]) -> None:
    with pytest.raises(InterlockError) as refused:
        check_fields(FIELDS, data, at_most_ten)
    assert (refused.value.kind, refused.value.code) == (ErrorKind.RULE, "VALIDATION_ERROR")
    assert [error["field"] for error in refused.value.details["errors"]] == wrong


@pytest.mark.parametrize(
    ("field_type", "reason"),
    [
        ("text", "must be a text"),
        ("email", "must be an e-mail address"),
        ("url", "must be a URL"),
        ("number", "must be a number"),
        ("integer", "must be an integer"),
        ("boolean", "must be true or false"),
        ("multiselect", "must be a list"),
    ],
)
def test_a_wrong_kind_of_value_is_told_in_good_english(field_type: str, reason: str) -> None:
    with pytest.raises(InterlockError) as refused:
        check_fields([{"name": "x", "field_type": field_type}], {"x": {"any": 1}}, at_most_ten)
    assert refused.value.details["errors"] == [{"field": "data.x", "reason": reason}]


@pytest.mark.parametrize("data", ["text", 7, [1], True])
def test_data_that_are_no_object_are_refused(data: Any) -> None:
    with pytest.raises(InterlockError, match="must be an object"):
        check_fields([], data, at_most_ten)
