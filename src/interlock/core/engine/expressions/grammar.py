"""From tokens to the syntax tree: precedence, known names, numbers of arguments, depth and node bounds."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from difflib import get_close_matches
from typing import TypeVar

from interlock.core.engine.expressions.errors import Fault
from interlock.core.engine.expressions.functions import FUNCTIONS
from interlock.core.engine.expressions.limits import DEPTH, NODES
from interlock.core.engine.expressions.syntax import (
    Binary,
    Call,
    Choice,
    Index,
    ListOf,
    Literal,
    Node,
    ObjectOf,
    Root,
    Unary,
)
from interlock.core.engine.expressions.tokens import Token

_T = TypeVar("_T")
_N = TypeVar("_N", Literal, Root, Index, Unary, Binary, Choice, Call, ListOf, ObjectOf)

ROOTS = frozenset(
    {"$json", "$input", "$node", "$loop", "$trigger", "$config", "$execution", "$now"}
    | {"data", "context", "variables", "output"}
)

_CONSTANTS = {"true": True, "false": False, "null": None, "True": True, "False": False, "None": None}
_SPELLINGS = {"||": "or", "&&": "and", "===": "==", "!==": "!="}
_RANKS = (
    ("or",),
    ("and",),
    ("not",),
    ("==", "!="),
    ("<", "<=", ">", ">=", "in", "not in"),
    ("+", "-"),
    ("*", "/", "%"),
)
_RANK = {operator: rank for rank, operators in enumerate(_RANKS) for operator in operators}
_NOT = _RANK["not"]
_CHAINLESS = {_RANK["=="], _RANK["<"]}  # a < b < c reads differently in every language, so it is refused in ours
_WORDS = {"and", "or", "not", "in"}


def build_tree(tokens: list[Token], extra_roots: Collection[str] = ()) -> tuple[Node, frozenset[str]]:
    """The tree of a whole expression and the roots it reads; raises Fault with the place of the mistake."""
    parser = _Parser(tokens, ROOTS.union(extra_roots))
    return parser.whole(), frozenset(parser.roots)


class _Parser:
    def __init__(self, tokens: list[Token], known_roots: frozenset[str]) -> None:
        self.roots: set[str] = set()
        self._tokens = tokens
        self._known_roots = known_roots
        self._next = 0
        self._nodes = 0
        self._depth = 0

    def whole(self) -> Node:
        if self._token.kind == "end":
            raise Fault("the expression is empty", "write a value, for example $json.name", at=self._token.at)
        tree = self._nested(self._choice)
        if self._token.kind != "end":
            raise self._unexpected("an operator or the end")
        return tree

    def _choice(self) -> Node:
        test = self._binary(0)
        at = self._token.at
        if not self._take("?"):
            return test
        then = self._nested(self._choice)
        self._expect(":")
        return self._count(Choice(test, then, self._nested(self._choice), at))

    def _binary(self, floor: int) -> Node:
        left = self._operand(floor)
        while True:
            operator = self._operator()
            rank = _RANK.get(operator, -1)
            if rank < floor:
                return left
            at = self._token.at
            self._next += 2 if operator == "not in" else 1
            left = self._count(Binary(operator, left, self._binary(rank + 1), at))
            if rank in _CHAINLESS and _RANK.get(self._operator(), -1) == rank:
                hint = "write a < b and b < c, or use parentheses"
                raise Fault("comparisons cannot be chained", hint, at=self._token.at)

    def _operator(self) -> str:
        word = self._token.text if self._is_operator() else ""
        if word == "not":
            behind = self._tokens[self._next + 1]
            return "not in" if behind.kind == "name" and behind.text == "in" else ""
        return _SPELLINGS.get(word, word)

    def _operand(self, floor: int) -> Node:
        token = self._token
        if token.kind == "name" and token.text == "not":
            if floor > _NOT:
                raise Fault("'not' needs parentheses here", "write (not a), or !a", at=token.at)
            self._next += 1
            return self._count(Unary("not", self._nested(lambda: self._binary(_NOT)), token.at))
        return self._signed()

    def _signed(self) -> Node:
        at = self._token.at
        if self._take("!"):
            return self._count(Unary("not", self._nested(self._signed), at))
        if self._take("-"):
            return self._negative(self._nested(self._signed), at)
        return self._path(self._primary())

    def _negative(self, operand: Node, at: int) -> Node:
        if isinstance(operand, Literal) and type(operand.value) in (int, float):
            return Literal(-operand.value, at)  # type: ignore[operator]
        return self._count(Unary("-", operand, at))

    def _path(self, node: Node) -> Node:
        while True:
            at = self._token.at
            if self._take("."):
                node = self._count(Index(node, Literal(self._name("a name"), at), at))
            elif self._take("["):
                key = self._nested(self._choice)
                self._expect("]")
                node = self._count(Index(node, key, at))
            elif self._is("("):
                raise Fault("only the functions of the language can be called", _known_functions(), at=at)
            else:
                return node

    def _primary(self) -> Node:
        token = self._token
        if token.kind in ("number", "text"):
            self._next += 1
            return self._count(Literal(token.value, token.at))
        if token.kind == "name" and token.text not in _WORDS:
            self._next += 1
            return self._named(token)
        if self._take("("):
            inner = self._nested(self._choice)
            self._expect(")")
            return inner
        if self._take("["):
            return self._count(ListOf(tuple(self._series("]", lambda: self._nested(self._choice))), token.at))
        if self._take("{"):
            return self._count(ObjectOf(self._entries(), token.at))
        raise self._unexpected("a value")

    def _named(self, token: Token) -> Node:
        if token.text in _CONSTANTS:
            return self._count(Literal(_CONSTANTS[token.text], token.at))
        if self._is("("):
            return self._call(token)
        if token.text in self._known_roots:
            self.roots.add(token.text)
            return self._count(Root(token.text, token.at))
        raise _unknown_name(token, self._known_roots)

    def _call(self, token: Token) -> Node:
        function = FUNCTIONS.get(token.text)
        if function is None:
            hint = _suggest(token.text, FUNCTIONS) + _known_functions()
            raise Fault(f"unknown function '{token.text[:40]}'", hint, at=token.at)
        self._expect("(")
        arguments = tuple(self._series(")", lambda: self._nested(self._choice)))
        if not function.least <= len(arguments) <= function.most:
            wanted = _arguments(function.least, function.most)
            raise Fault(f"{token.text}() takes {wanted}, not {len(arguments)}", at=token.at)
        if token.text == "now":
            self.roots.add("$now")
        return self._count(Call(token.text, arguments, token.at))

    def _entries(self) -> tuple[tuple[str, Node], ...]:
        entries: dict[str, Node] = {}
        for at, key, value in self._series("}", self._entry):
            if key in entries:
                raise Fault(f"the key '{key[:40]}' is there twice", at=at)
            entries[key] = value
        return tuple(entries.items())

    def _entry(self) -> tuple[int, str, Node]:
        token = self._token
        if token.kind == "text":
            self._next += 1
            key = str(token.value)
        else:
            key = self._name("a key")
        self._expect(":")
        return token.at, key, self._nested(self._choice)

    def _series(self, closing: str, read: Callable[[], _T]) -> list[_T]:
        items: list[_T] = []
        if self._take(closing):
            return items
        while True:
            items.append(read())
            if self._take(closing):
                return items
            if not self._take(","):
                raise self._unexpected(f"',' or '{closing}'")

    def _nested(self, read: Callable[[], Node]) -> Node:
        self._depth += 1
        if self._depth > DEPTH:
            raise Fault(f"the expression is nested deeper than {DEPTH}", at=self._token.at)
        node = read()
        self._depth -= 1
        return node

    def _count(self, node: _N) -> _N:
        self._nodes += 1
        if self._nodes > NODES:
            raise Fault(
                f"the expression has more than {NODES} parts", "compute a part of it in a node before", at=node.at
            )
        return node

    @property
    def _token(self) -> Token:
        return self._tokens[self._next]

    def _is_operator(self) -> bool:
        return self._token.kind == "operator" or (self._token.kind == "name" and self._token.text in _WORDS)

    def _is(self, sign: str) -> bool:
        return self._token.kind == "operator" and self._token.text == sign

    def _take(self, sign: str) -> bool:
        found = self._is(sign)
        self._next += found
        return found

    def _expect(self, sign: str) -> None:
        if not self._take(sign):
            raise self._unexpected(f"'{sign}'")

    def _name(self, wanted: str) -> str:
        token = self._token
        if token.kind != "name" or token.text.startswith("$"):
            raise self._unexpected(wanted)
        self._next += 1
        return token.text

    def _unexpected(self, wanted: str) -> Fault:
        token = self._token
        if token.kind == "end":
            return Fault(f"the expression ends where {wanted} should be", at=token.at)
        shown = token.text if len(token.text) <= 40 else token.text[:39] + "…"
        return Fault(f"{wanted} should be here, not {shown}", at=token.at)


def _unknown_name(token: Token, known_roots: frozenset[str]) -> Fault:
    if token.text in FUNCTIONS:
        return Fault(f"{token.text} is a function", f"call it: {token.text}(…)", at=token.at)
    hint = _suggest(token.text, known_roots) + "known: " + ", ".join(sorted(known_roots))
    return Fault(f"unknown name '{token.text[:40]}'", hint + "; texts stand in quotes", at=token.at)


def _known_functions() -> str:
    return "known: " + ", ".join(sorted(FUNCTIONS, key=str.lower))


def _suggest(word: str, known: Iterable[str]) -> str:
    by_lower = {name.lower(): name for name in known}
    near = get_close_matches(word[:40].lower(), by_lower, n=1)
    return f"did you mean '{by_lower[near[0]]}'? " if near else ""


def _arguments(least: int, most: int) -> str:
    if least == most:
        return "no arguments" if least == 0 else f"{least} argument{'s' if least > 1 else ''}"
    if most > NODES:
        return f"at least {least} argument{'s' if least > 1 else ''}"
    return f"{least} to {most} arguments"
