"""Templates: substitution in JSON of any shape, and all of its mistakes found at once."""

from __future__ import annotations

from typing import Any

import pytest

from interlock.core.engine.expressions import ExpressionError, compile_errors, compile_template, parse
from interlock.core.engine.expressions.limits import PLACEHOLDERS, RESULT_BYTES

SCOPE: dict[str, Any] = {
    "$json": {"name": "Ada", "n": 3, "list": [1, {"a": None}], "ok": True, "null": None, "f": 0.5},
    "$now": "2026-11-21T10:00:00Z",
}


def rendered(value: Any) -> Any:
    return compile_template(value).render(SCOPE)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{{ $json.n }}", 3),
        ("{{$json.n}}", 3),
        ("{{ $json.list }}", [1, {"a": None}]),
        ("{{ $json.missing }}", None),
        ("{{ '' }}", ""),
        (" {{ $json.n }}", " 3"),
        ("{{ $json.n }}{{ $json.n }}", "33"),
        ("{{ $json.null }}|{{ $json.ok }}|{{ $json.f }}|{{ $json.list }}", '|true|0.5|[1,{"a":null}]'),
        ("a {{ {b: {c: '}}'}} }} d", 'a {"b":{"c":"}}"}} d'),
        ("{{ {a: {b: 1}}}}", {"a": {"b": 1}}),
        ("{{ '{{' }}{{ '}}' }}", "{{}}"),
        ("}} and { and }", "}} and { and }"),
        ("{{\n  $json.n\n  + 1\n}}", 4),
        ("ü {{ $json.name }} 😀", "ü Ada 😀"),
        ("{{ now() }}", "2026-11-21T10:00:00Z"),
    ],
)
def test_text_renders(text: str, expected: Any) -> None:
    actual = rendered(text)
    assert (type(actual), actual) == (type(expected), expected)


def test_values_are_substituted_at_any_depth_and_the_rest_stays() -> None:
    value = {
        "url": "https://example.org/{{ $json.name }}",
        "body": {"n": "{{ $json.n }}", "fixed": [1, None, True, "text"]},
        "tags": ["{{ $json.list }}", ("x", "{{ $json.ok }}")],
        "{{ key }}": "keys stay",
    }
    assert rendered(value) == {
        "url": "https://example.org/Ada",
        "body": {"n": 3, "fixed": [1, None, True, "text"]},
        "tags": [[1, {"a": None}], ["x", True]],
        "{{ key }}": "keys stay",
    }


@pytest.mark.parametrize("value", [None, 5, "plain", [], {}, {"a": ["b", {"c": "}}"}]}])
def test_what_holds_no_placeholder_is_constant_and_given_back_itself(value: Any) -> None:
    template = compile_template(value)
    assert template.is_constant
    assert template.roots == frozenset()
    assert template.constant is value
    assert template.render({}) is value


def test_a_template_knows_its_roots_and_is_not_constant() -> None:
    template = compile_template({"a": "{{ $json.a }}", "b": ["{{ data.x }} {{ now() }}"]})
    assert not template.is_constant
    assert template.constant is None
    assert template.roots == {"$json", "data", "$now"}


def test_an_expression_without_roots_is_not_constant_either() -> None:
    assert not compile_template("{{ 1 + 1 }}").is_constant


def test_each_rendering_gives_new_containers() -> None:
    template = compile_template({"a": ["{{ [1, 2] }}"]})
    first = template.render({})
    first["a"][0].append(3)
    assert template.render({}) == {"a": [[1, 2]]}


def test_a_callable_root_is_called_once_for_the_whole_rendering() -> None:
    calls: list[int] = []

    def load() -> dict[str, int]:
        calls.append(1)
        return {"n": 1}

    assert compile_template(["{{ $node.n }}", "{{ $node.n }} {{ $node.n }}"]).render({"$node": load}) == [1, "1 1"]
    assert calls == [1]


def test_errors_while_rendering_count_positions_in_the_whole_text() -> None:
    with pytest.raises(ExpressionError) as caught:
        compile_template({"a": "fine {{ 1 }}", "b": "n is\n{{ $json.n }} {{ $json.n / 0 }}"}).render(SCOPE)
    details = caught.value.details
    assert caught.value.message.startswith("division by zero at line 2, column 26")
    assert (details["position"], details["line"], details["column"]) == (30, 2, 26)
    assert details["source"] == "$json.n / 0"


def test_errors_while_compiling_count_positions_in_the_whole_text() -> None:
    with pytest.raises(ExpressionError) as caught:
        compile_template(["ok", "see {{ nope }}"])
    assert (caught.value.details["position"], caught.value.details["source"]) == (7, "nope")


def test_extra_roots_are_passed_on() -> None:
    assert compile_template("{{ event.n }}", extra_roots={"event"}).render({"event": {"n": 1}}) == 1
    assert compile_errors("{{ event.n }}", extra_roots={"event"}) == []
    assert len(compile_errors("{{ event.n }}")) == 1


def test_all_errors_of_a_value_are_found_with_their_paths() -> None:
    value = {
        "good": "{{ $json.a }}",
        "two": "{{ nope }} then {{ $json. }} then {{ $json.fine }}",
        "list": [1, {"a key": "{{ 1 +", "x": None}],
        'quote"': "{{}}",
    }
    found = [(path, error.details["column"], error.message.split(" at ")[0]) for path, error in compile_errors(value)]
    assert found == [
        ("$.two", 4, "unknown name 'nope'"),
        ("$.two", 27, "the expression ends where a name should be"),
        ('$.list[1]["a key"]', 1, "the {{ is not closed"),
        ('$["quote\\""]', 3, "the expression is empty"),
    ]


def test_paths_continue_the_one_that_is_given() -> None:
    assert [path for path, _ in compile_errors({"url": "{{ x }}"}, "nodes[2].parameters")] == [
        "nodes[2].parameters.url"
    ]


def test_a_value_without_mistakes_has_no_errors() -> None:
    assert compile_errors({"a": ["{{ $json.a }} {{ data.b }}", 5, None, "}} {"]}) == []


def test_at_most_a_hundred_errors_are_collected() -> None:
    assert len(compile_errors(["{{ nope }}"] * 500)) == 100


def test_too_many_placeholders_are_one_error() -> None:
    many = ["{{ 1 }}"] * (PLACEHOLDERS + 50)
    assert [error.message for _, error in compile_errors(many)] == [
        f"there are more than {PLACEHOLDERS} placeholders at column 1; split the template"
    ]
    with pytest.raises(ExpressionError, match="more than 1000 placeholders"):
        compile_template(many)
    assert len(compile_template(many[:PLACEHOLDERS]).render({})) == PLACEHOLDERS


def test_a_value_that_is_nested_too_deep_is_an_error_and_not_a_crash() -> None:
    value: Any = "{{ 1 }}"
    for _ in range(5000):
        value = [value]
    assert len(compile_errors(value)) == 1
    with pytest.raises(ExpressionError, match="nested deeper than 64"):
        compile_template(value)


def test_inserted_values_may_not_nest_the_result_too_deep() -> None:
    inner: Any = 1
    for _ in range(60):
        inner = [inner]
    assert compile_template([["{{ data }}"]]).render({"data": inner}) == [[inner]]
    with pytest.raises(ExpressionError, match="nested deeper than 64"):
        compile_template([[[[["{{ data }}"]]]]]).render({"data": inner})


def test_the_limit_of_the_result_holds_for_all_placeholders_together() -> None:
    scope = {"data": "x" * (RESULT_BYTES // 3)}
    assert len(compile_template(["{{ data + '' }}"] * 2).render(scope)) == 2
    for template in (["{{ data + '' }}"] * 3, "{{ data }}" * 3 + "more"):
        with pytest.raises(ExpressionError, match="larger than 1 MiB"):
            compile_template(template).render(scope)


def test_large_values_that_are_only_named_are_passed_on_as_they_are() -> None:
    rows = [[float(n)] * 100 for n in range(2_000)]  # about 2 MB
    scope = {"data": {"rows": rows, "text": "x" * (2 * RESULT_BYTES)}}
    rendered = compile_template({"a": "{{ data.rows }}", "b": '{{ data["text"] }}'}).render(scope)
    assert rendered["a"] is rows
    assert rendered["b"] is scope["data"]["text"]
    with pytest.raises(ExpressionError, match="larger than 1 MiB"):
        parse("data.rows").evaluate(scope)  # a condition looks at it


def test_large_values_passed_on_are_bounded_all_together() -> None:
    scope = {"data": "x" * RESULT_BYTES}
    assert len(compile_template(["{{ data }}"] * 32).render(scope)) == 32
    with pytest.raises(ExpressionError, match="larger than 32 MiB"):
        compile_template(["{{ data }}"] * 33).render(scope)


def test_the_limit_of_work_holds_for_all_placeholders_together() -> None:
    scope = {"data": list(range(50_000))}
    assert compile_template(["{{ sum(data) }}"] * 2).render(scope) == [1249975000] * 2
    with pytest.raises(ExpressionError, match="too much work"):
        compile_template(["{{ sum(data) }}"] * 20).render(scope)
