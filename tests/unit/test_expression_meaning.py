"""Random expressions mean what a second, independent evaluator says."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

from hypothesis import example, given, settings
from hypothesis import strategies as st

from interlock.core.engine.expressions import ExpressionError, compile_template, parse

# A tree is a tuple whose first item says what it is; the second evaluator below reads nothing else.
Tree: TypeAlias = tuple[Any, ...]
Grow: TypeAlias = Callable[[str], Tree]

NAMES = ("a", "b", "in", "x1")
TEXTS = st.text(alphabet="abAB 01'\"\\é😀{}\n\t", max_size=6)
EIGHTHS = st.integers(-80, 80).map(lambda n: n / 8)
NUMBERS = st.one_of(st.integers(0, 12), st.integers(0, 2**63 - 1), EIGHTHS.map(abs), st.floats(0, 1e300))
SCALARS = st.one_of(st.none(), st.booleans(), st.integers(-9, 9), EIGHTHS, TEXTS)
OBJECTS = st.dictionaries(st.sampled_from(NAMES), SCALARS, max_size=3)
LISTS = st.lists(st.one_of(SCALARS, OBJECTS), max_size=4)
SCOPES = st.fixed_dictionaries(
    {"$json": st.fixed_dictionaries({"number": st.one_of(st.integers(-9, 9), EIGHTHS), "text": TEXTS})},
    optional={"data": OBJECTS, "$node": LISTS},
)
LEAVES: dict[str, st.SearchStrategy[Tree]] = {
    "number": st.one_of(NUMBERS.map(lambda n: ("literal", n)), st.just(("member", ("root", "$json"), "number"))),
    "text": st.one_of(TEXTS.map(lambda t: ("literal", t)), st.just(("member", ("root", "$json"), "text"))),
    "truth": st.booleans().map(lambda b: ("literal", b)),
    "list": st.one_of(st.just(("list", [])), st.just(("root", "$node"))),
    "object": st.one_of(st.just(("object", {})), st.sampled_from([("root", "data"), ("root", "$json")])),
    "null": st.just(("literal", None)),
}
COMPARISONS = ("==", "!=", "===", "!==", "<", "<=", ">", ">=")


def _binary(operators: Sequence[str], left: str, right: str) -> list[Callable[[Grow], Tree]]:
    return [lambda grow, word=word: ("binary", word, grow(left), grow(right)) for word in operators]  # type: ignore[misc]


def _call(name: str, *kinds: str) -> list[Callable[[Grow], Tree]]:
    return [lambda grow: ("call", name, [grow(kind) for kind in kinds])]


RECIPES: dict[str, list[Callable[[Grow], Tree]]] = {
    "number": [
        *_binary("+-*/%", "number", "number"),
        lambda grow: ("-", grow("number")),
        *_call("abs", "number"),
        *_call("len", "text"),
        *_call("len", "list"),
    ],
    "text": [
        *(_binary("+", "text", "text") + _binary("+", "text", "number") + _binary("+", "number", "text")),
        *(_call("upper", "text") + _call("lower", "text") + _call("trim", "text")),
        *(_call("str", "any") + _call("json", "any") + _call("replace", "text", "text", "text")),
        lambda grow: ("index", grow("text"), grow("number")),
    ],
    "truth": [
        *(_binary(COMPARISONS, "number", "number") + _binary(COMPARISONS, "text", "text")),
        *(_binary(["==", "!="], "any", "any") + _binary(["in", "not in"], "any", "list")),
        *(_binary(["in", "not in"], "text", "text") + _binary(["in", "not in"], "text", "object")),
        *[lambda grow: ("not", grow("any")), lambda grow: ("!", grow("any"))],
        *(_call("contains", "list", "any") + _call("startsWith", "text", "text") + _call("endsWith", "text", "text")),
        *(_call("has", "object", "text") + _call("has", "list", "number") + _call("bool", "any")),
    ],
    "list": [
        lambda grow: ("list", [grow("any"), grow("any")]),
        *(_binary("+", "list", "list") + _call("keys", "object") + _call("values", "object")),
    ],
    "object": [lambda grow: ("object", {"a": grow("any"), "b c": grow("any")})],
    "any": [
        *_binary(["or", "and"], "any", "any"),
        lambda grow: ("choice", grow("any"), grow("any"), grow("any")),
        lambda grow: ("index", grow("list"), grow("number")),
        lambda grow: ("index", grow("any"), grow("any")),
        lambda grow: ("member", grow("object"), "a"),
        *_call("coalesce", "any", "any", "any"),
    ],
}


@st.composite
def trees(draw: st.DrawFn, kind: str = "any", depth: int = 4) -> Tree:
    """A tree of a kind; now and then one of another kind, so that refusals are met too."""
    if kind == "any" or draw(st.integers(0, 39)) == 0:
        kind = draw(st.sampled_from([*LEAVES, "any"]))
    if depth == 0 or kind == "null":
        return draw(LEAVES.get(kind, LEAVES["number"]))
    if kind != "any" and draw(st.integers(0, 3)) == 0:
        return draw(LEAVES[kind])
    return draw(st.sampled_from(RECIPES[kind]))(lambda part: draw(trees(part, depth - 1)))


RANK = {"or": 1, "and": 2, "not": 3, "==": 4, "!=": 4, "===": 4, "!==": 4}
RANK |= dict.fromkeys(["<", "<=", ">", ">=", "in", "not in"], 5) | {"+": 6, "-": 6, "*": 7, "/": 7, "%": 7}
SIGN, PATH = 8, 9


def written(tree: Tree, floor: int = 0, *, careful: bool = False) -> str:
    """The tree as source: with all parentheses if careful, else with those that precedence asks for."""

    def inner(part: Tree, rank: int) -> str:
        return written(part, rank, careful=careful)

    kind, rank = tree[0], PATH
    match kind:
        case "literal":
            text = json.dumps(tree[1])
        case "root":
            text = tree[1]
        case "list":
            text = "[" + ", ".join(inner(part, 0) for part in tree[1]) + "]"
        case "object":
            text = "{" + ", ".join(f"{json.dumps(key)}: {inner(part, 0)}" for key, part in tree[1].items()) + "}"
        case "call":
            text = f"{tree[1]}(" + ", ".join(inner(part, 0) for part in tree[2]) + ")"
        case "index":
            text = f"{inner(tree[1], PATH)}[{inner(tree[2], 0)}]"
        case "member":
            text = f"{inner(tree[1], PATH)}.{tree[2]}"
        case "!" | "-":
            text, rank = f"{kind}{inner(tree[1], SIGN)}", SIGN
        case "not":
            text, rank = f"not {inner(tree[1], RANK['not'])}", RANK["not"]
        case "choice":
            text, rank = f"{inner(tree[1], 1)} ? {inner(tree[2], 0)} : {inner(tree[3], 0)}", 0
        case _:
            rank = RANK[tree[1]]
            # Comparisons do not chain, so their left side needs parentheses as the right side does.
            left = rank + 1 if rank in (4, 5) else rank
            text = f"{inner(tree[2], left)} {tree[1]} {inner(tree[3], rank + 1)}"
    return f"({text})" if rank < floor or (careful and rank < PATH) else text


class Refused(Exception):
    """The second evaluator says that there is no value."""


def second(tree: Tree, scope: Mapping[str, Any]) -> Any:
    """The value of the tree by the rules of the reference page, written down a second time."""
    kind, *parts = tree
    match kind:
        case "literal":
            return parts[0]
        case "root":
            return scope.get(parts[0])
        case "list":
            return [second(part, scope) for part in parts[0]]
        case "object":
            return {key: second(part, scope) for key, part in parts[0].items()}
        case "member":
            return _at(second(parts[0], scope), parts[1])
        case "index":
            return _at(second(parts[0], scope), second(parts[1], scope))
        case "choice":
            return second(parts[1] if _truth(second(parts[0], scope)) else parts[2], scope)
        case "not" | "!":
            return not _truth(second(parts[0], scope))
        case "-":
            return _counted(-_wanted(second(parts[0], scope), "number"))
        case "call":
            return _called(parts[0], parts[1], scope)
    return _joined(parts[0], parts[1], parts[2], scope)


def _joined(operator: str, left: Tree, right: Tree, scope: Mapping[str, Any]) -> Any:
    one = second(left, scope)
    if operator in ("or", "and"):
        return one if _truth(one) == (operator == "or") else second(right, scope)
    two = second(right, scope)
    kinds = {_kind(one), _kind(two)}
    match operator:
        case "==" | "===":
            return _same(one, two)
        case "!=" | "!==":
            return not _same(one, two)
        case "in":
            return _inside(one, two)
        case "not in":
            return not _inside(one, two)
        case "<" | "<=" | ">" | ">=":
            if kinds not in ({"number"}, {"text"}):
                raise Refused
            return {"<": one < two, "<=": one <= two, ">": one > two, ">=": one >= two}[operator]
        case "+" if kinds == {"list"}:
            return one + two
        case "+" if kinds == {"text"} or kinds == {"text", "number"}:
            return _as_text(one) + _as_text(two)
    if kinds != {"number"}:
        raise Refused
    return _counted(_reckon(operator, one, two))


def _reckon(operator: str, one: Any, two: Any) -> Any:
    if operator in "/%" and two == 0:
        raise Refused
    match operator:
        case "+":
            return one + two
        case "-":
            return one - two
        case "*":
            return one * two
        case "%":
            return one % two
    whole = isinstance(one, int) and isinstance(two, int) and one % two == 0
    return one // two if whole else one / two


def _called(name: str, arguments: list[Tree], scope: Mapping[str, Any]) -> Any:
    if name == "coalesce":
        found = (second(argument, scope) for argument in arguments)
        return next((value for value in found if value is not None), None)
    values = [second(argument, scope) for argument in arguments]
    first = values[0]
    match name:
        case "len":
            return 0 if first is None else len(_wanted(first, "text", "list", "object"))
        case "upper":
            return _wanted(first, "text").upper()
        case "lower":
            return _wanted(first, "text").lower()
        case "trim":
            return _wanted(first, "text").strip()
        case "bool":
            return _truth(first)
        case "str":
            return _as_text(first)
        case "json":
            return json.dumps(first, ensure_ascii=False, separators=(",", ":"))
        case "abs":
            return _counted(abs(_wanted(first, "number")))
        case "keys":
            return list(_wanted(first, "object").keys())
        case "values":
            return list(_wanted(first, "object").values())
        case "contains":
            return _inside(values[1], first)
        case "startsWith":
            return _wanted(first, "text").startswith(_wanted(values[1], "text"))
        case "endsWith":
            return _wanted(first, "text").endswith(_wanted(values[1], "text"))
        case "has":
            return _has(first, values[1])
    if not _wanted(values[1], "text"):
        raise Refused
    return _wanted(first, "text").replace(values[1], _wanted(values[2], "text"))


def _kind(value: Any) -> str:
    if value is None or isinstance(value, bool):
        return str(value)
    return {int: "number", float: "number", str: "text", list: "list", dict: "object"}[type(value)]


def _wanted(value: Any, *kinds: str) -> Any:
    if _kind(value) not in kinds:
        raise Refused
    return value


def _truth(value: Any) -> bool:
    return value not in (None, False, 0, "") and value != [] and value != {}


def _counted(value: Any) -> Any:
    if (isinstance(value, int) and abs(value) >= 2**63) or not math.isfinite(value):
        raise Refused
    return value


def _same(one: Any, two: Any) -> bool:
    if _kind(one) != _kind(two):
        return False
    if isinstance(one, list):
        return len(one) == len(two) and all(map(_same, one, two))
    if isinstance(one, dict):
        return one.keys() == two.keys() and all(_same(one[key], two[key]) for key in one)
    return bool(one == two)


def _inside(part: Any, whole: Any) -> bool:
    if isinstance(whole, list):
        return any(_same(part, item) for item in whole)
    if isinstance(whole, str | dict):
        return isinstance(part, str) and part in whole
    if whole is None:
        return False
    raise Refused


def _at(value: Any, key: Any) -> Any:
    if isinstance(value, dict):
        return value.get(key) if isinstance(key, str) else None
    if isinstance(value, list | str) and _kind(key) == "number" and key == math.floor(key):
        return value[int(key)] if -len(value) <= key < len(value) else None
    return None


def _has(value: Any, key: Any) -> bool:
    if isinstance(_wanted(value, "object", "list", "None"), dict):
        return isinstance(key, str) and key in value
    return isinstance(value, list) and type(key) is int and -len(value) <= key < len(value)


def _as_text(value: Any) -> str:
    if value is None or isinstance(value, str):
        return value or ""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def outcome(work: Callable[[], Any]) -> str:
    """The value as JSON text, which tells 1 from 1.0 and true, or that it was refused."""
    try:
        return json.dumps(work())
    except (ExpressionError, Refused):
        return "refused"


@settings(max_examples=250, deadline=None)
@given(trees(), SCOPES)
@example(("binary", "and", ("not", ("literal", 1)), ("!", ("literal", 0))), {})
@example(("choice", ("choice", *[("literal", 0)] * 3), ("literal", 1), ("-", ("-", ("literal", 1.5)))), {})
def test_an_expression_means_what_the_second_evaluator_says(tree: Tree, scope: dict[str, Any]) -> None:
    expected = outcome(lambda: second(tree, scope))
    assert outcome(lambda: parse(written(tree)).evaluate(scope)) == expected
    assert outcome(lambda: parse(written(tree, careful=True)).evaluate(scope)) == expected
    assert outcome(lambda: compile_template("{{" + written(tree) + "}}").render(scope)) == expected


@settings(max_examples=60, deadline=None)
@given(st.lists(st.one_of(trees(depth=2), st.text(alphabet="ab }\n'\"", max_size=4)), min_size=2, max_size=4), SCOPES)
def test_a_text_with_placeholders_is_its_parts_as_text(parts: list[Tree | str], scope: dict[str, Any]) -> None:
    text = "|".join(part if isinstance(part, str) else "{{" + written(part) + "}}" for part in parts)

    def expected() -> str:
        return "|".join(part if isinstance(part, str) else _as_text(second(part, scope)) for part in parts)

    assert outcome(lambda: compile_template(text).render(scope)) == outcome(expected)
