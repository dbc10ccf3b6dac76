"""The syntax tree: plain frozen data. Every node knows its place (``at``, an offset in the text)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias


@dataclass(frozen=True, slots=True)
class Literal:
    """A number, text, true, false or null."""

    value: str | int | float | bool | None
    at: int


@dataclass(frozen=True, slots=True)
class Root:
    """A name of the scope, as written: ``$json`` or ``data``."""

    name: str
    at: int


@dataclass(frozen=True, slots=True)
class Index:
    """``target.key`` (the key is then a literal) or ``target[key]``."""

    target: Node
    key: Node
    at: int


@dataclass(frozen=True, slots=True)
class Unary:
    """``not`` or ``-``."""

    operator: str
    operand: Node
    at: int


@dataclass(frozen=True, slots=True)
class Binary:
    """Two operands; ``and`` and ``or`` are in their word form here, ``===`` and ``!==`` without the third sign."""

    operator: str
    left: Node
    right: Node
    at: int


@dataclass(frozen=True, slots=True)
class Choice:
    """``test ? then : otherwise``."""

    test: Node
    then: Node
    otherwise: Node
    at: int


@dataclass(frozen=True, slots=True)
class Call:
    """A call of one of the functions of the language, with a checked number of arguments."""

    name: str
    arguments: tuple[Node, ...]
    at: int


@dataclass(frozen=True, slots=True)
class ListOf:
    """``[a, b]``."""

    items: tuple[Node, ...]
    at: int


@dataclass(frozen=True, slots=True)
class ObjectOf:
    """``{a: 1, "b": 2}``; keys are unique."""

    entries: tuple[tuple[str, Node], ...]
    at: int


Node: TypeAlias = Literal | Root | Index | Unary | Binary | Choice | Call | ListOf | ObjectOf


def is_reference(tree: Node) -> bool:
    """Whether it only names data: a root, and steps into it by literal keys."""
    while isinstance(tree, Index):
        if not isinstance(tree.key, Literal):
            return False
        tree = tree.target
    return isinstance(tree, Root)
