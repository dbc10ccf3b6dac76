"""From the syntax tree to nested functions, once, so that evaluating walks no tree and looks up no operator."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

from interlock.core.engine.expressions.functions import FUNCTIONS
from interlock.core.engine.expressions.limits import Frame
from interlock.core.engine.expressions.operators import BINARY, index, negate, truthy
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

Run: TypeAlias = Callable[[Frame], Any]


def compile_tree(node: Node) -> Run:
    """A function that evaluates the node in a frame; it sets ``frame.at`` before anything that may fail."""
    match node:
        case Literal(value=value):
            return lambda _frame: value
        case Root(name=name, at=at):
            return _path(name, at, [])
        case Index():
            return _index(node)
        case Unary():
            return _unary(node)
        case Binary(operator="and"):
            return _both(compile_tree(node.left), compile_tree(node.right))
        case Binary(operator="or"):
            return _either(compile_tree(node.left), compile_tree(node.right))
        case Binary():
            return _binary(node)
        case Choice():
            return _choice(node)
        case Call():
            return _call(node)
        case ListOf():
            return _list(node)
        case ObjectOf():
            return _object(node)


def _index(node: Index) -> Run:
    keys: list[Any] = []
    target: Node = node
    while isinstance(target, Index) and isinstance(target.key, Literal):
        keys.insert(0, target.key.value)
        target = target.target
    if isinstance(target, Root):
        return _path(target.name, target.at, keys)
    if isinstance(target, Index) and not keys:
        return _computed(target)
    return _steps(compile_tree(target), keys, node.at)


def _computed(node: Index) -> Run:
    target, key, at = compile_tree(node.target), compile_tree(node.key), node.at

    def run(frame: Frame) -> Any:
        value, wanted = target(frame), key(frame)
        frame.at = at
        return index(value, wanted)

    return run


def _steps(target: Run, keys: list[Any], at: int) -> Run:
    def run(frame: Frame) -> Any:
        value = target(frame)
        frame.at = at
        for key in keys:
            value = index(value, key)
        return value

    return run


def _path(root: str, at: int, keys: list[Any]) -> Run:
    """A path of fixed keys from a root: by far the commonest expression, so it has its own short loop."""

    def run(frame: Frame) -> Any:
        frame.at = at
        value = frame.root(root)
        for key in keys:
            if value is None:
                return None
            value = value.get(key) if type(value) is dict else index(value, key)
        return value

    return run


def _unary(node: Unary) -> Run:
    operand, at = compile_tree(node.operand), node.at
    if node.operator == "not":
        return lambda frame: not truthy(operand(frame))

    def run(frame: Frame) -> Any:
        value = operand(frame)
        frame.at = at
        return negate(frame, value)

    return run


def _both(left: Run, right: Run) -> Run:
    def run(frame: Frame) -> Any:
        value = left(frame)
        return right(frame) if truthy(value) else value

    return run


def _either(left: Run, right: Run) -> Run:
    def run(frame: Frame) -> Any:
        value = left(frame)
        return value if truthy(value) else right(frame)

    return run


def _binary(node: Binary) -> Run:
    operate, at = BINARY[node.operator], node.at
    left, right = compile_tree(node.left), compile_tree(node.right)

    def run(frame: Frame) -> Any:
        one, other = left(frame), right(frame)
        frame.at = at
        return operate(frame, one, other)

    return run


def _choice(node: Choice) -> Run:
    test, then, otherwise = compile_tree(node.test), compile_tree(node.then), compile_tree(node.otherwise)
    return lambda frame: then(frame) if truthy(test(frame)) else otherwise(frame)


def _call(node: Call) -> Run:
    function, at = FUNCTIONS[node.name].run, node.at
    arguments = [compile_tree(argument) for argument in node.arguments]
    if FUNCTIONS[node.name].is_lazy:
        return lambda frame: function(frame, *arguments)

    def run(frame: Frame) -> Any:
        values = [argument(frame) for argument in arguments]
        frame.at = at
        return function(frame, *values)

    return run


def _list(node: ListOf) -> Run:
    fixed = [item.value for item in node.items if isinstance(item, Literal)]
    if len(fixed) == len(node.items):
        return lambda _frame: fixed.copy()
    items = [compile_tree(item) for item in node.items]
    return lambda frame: [item(frame) for item in items]


def _object(node: ObjectOf) -> Run:
    entries = [(key, compile_tree(value)) for key, value in node.entries]
    return lambda frame: {key: value(frame) for key, value in entries}
