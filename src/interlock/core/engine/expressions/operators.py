"""What the operators mean. Nothing is coerced: unlike kinds are never equal, and cannot be ordered or added.

Every function takes the frame it may charge and raises Fault where the operator has no meaning.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence, Sized
from math import isfinite
from typing import Any, TypeAlias

from interlock.core.engine.expressions.errors import Fault
from interlock.core.engine.expressions.limits import ITEMS, VALUE_DEPTH, WHOLE_LIMIT, Frame
from interlock.core.engine.expressions.plain import (
    charge_text,
    is_list,
    kind_of,
    require_finite,
    require_room,
    require_whole,
    text_of,
)

Number: TypeAlias = int | float

_NUMBERS = frozenset({int, float})
_SCALARS = frozenset({int, float, str, bool, type(None)})
_BUILT_IN = frozenset({int, float, str, bool, type(None), dict, list, tuple})


def truthy(value: Any) -> bool:
    """JSON truthiness: null, false, 0, "", [] and {} are false, everything else is true."""
    if type(value) in _BUILT_IN:
        return bool(value)
    return len(value) > 0 if isinstance(value, Sized) else True


def index(value: Any, key: Any) -> Any:
    """What the value holds under the key: a text names a key of an object, a whole number an item or character.

    Negative numbers count from the end. Anything that is not there, or cannot be, is null.
    """
    if type(key) is str:
        return value.get(key) if type(value) is dict or isinstance(value, Mapping) else None
    if type(key) is float and key.is_integer():
        key = int(key)
    if type(key) is int and (type(value) is str or is_list(value)):
        return value[key] if -len(value) <= key < len(value) else None
    return None


def equal(frame: Frame, left: Any, right: Any, depth: int = 0) -> bool:
    """Deep equality of JSON: 1 equals 1.0, but no value equals one of another kind."""
    kind, other = type(left), type(right)
    if kind in _SCALARS and other in _SCALARS:
        if kind is str and other is str:
            frame.charge(len(left) >> 8)
        return bool(left == right) and (kind is other or (kind is not bool and other is not bool))
    return _equal_containers(frame, left, right, depth)


def unequal(frame: Frame, left: Any, right: Any) -> bool:
    """The opposite of ``equal``."""
    return not equal(frame, left, right)


def member(frame: Frame, left: Any, right: Any) -> bool:
    """``left in right``: an item of a list, a part of a text, a key of an object; nothing is in null."""
    if right is None:
        return False
    if type(right) is str:
        frame.charge(len(right) >> 4)
        return type(left) is str and left in right
    if isinstance(right, Mapping):
        return type(left) is str and left in right
    if is_list(right):
        return _is_item(frame, left, right)
    raise Fault(f"cannot look into {kind_of(right)} with 'in'", "the right side is a list, a text or an object")


def not_member(frame: Frame, left: Any, right: Any) -> bool:
    """The opposite of ``member``."""
    return not member(frame, left, right)


def less(frame: Frame, left: Any, right: Any) -> bool:
    """``left < right`` for two numbers or two texts (by code points)."""
    _require_order(frame, left, right)
    return bool(left < right)


def less_or_equal(frame: Frame, left: Any, right: Any) -> bool:
    """``left <= right`` for two numbers or two texts."""
    _require_order(frame, left, right)
    return bool(left <= right)


def greater(frame: Frame, left: Any, right: Any) -> bool:
    """``left > right`` for two numbers or two texts."""
    _require_order(frame, left, right)
    return bool(left > right)


def greater_or_equal(frame: Frame, left: Any, right: Any) -> bool:
    """``left >= right`` for two numbers or two texts."""
    _require_order(frame, left, right)
    return bool(left >= right)


def add(frame: Frame, left: Any, right: Any) -> Any:
    """Adds numbers, puts texts (or a text and a number) together, and lists."""
    kind, other = type(left), type(right)
    if kind in _NUMBERS and other in _NUMBERS:
        return result(number(left) + number(right))
    if (kind is str and (other is str or other in _NUMBERS)) or (other is str and kind in _NUMBERS):
        return _concatenate(frame, text_of(frame, left), text_of(frame, right))
    if is_list(left) and is_list(right):
        return _append(frame, left, right)
    raise _no_meaning("add", left, right, "make texts with str() first")


def subtract(_frame: Frame, left: Any, right: Any) -> Number:
    """The difference of two numbers."""
    _require_numbers("subtract", left, right)
    return result(number(left) - number(right))


def multiply(_frame: Frame, left: Any, right: Any) -> Number:
    """The product of two numbers; texts and lists are not repeated."""
    _require_numbers("multiply", left, right)
    return result(number(left) * number(right))


def divide(_frame: Frame, left: Any, right: Any) -> Number:
    """The quotient; whole if two whole numbers divide without a rest."""
    _require_numbers("divide", left, right)
    _require_divisor(right)
    if type(left) is int and type(right) is int and number(left) % number(right) == 0:
        return result(left // right)
    return result(number(left) / number(right))


def remainder(_frame: Frame, left: Any, right: Any) -> Number:
    """The rest of a division, with the sign of the divisor."""
    _require_numbers("divide", left, right)
    _require_divisor(right)
    return result(number(left) % number(right))


def negate(_frame: Frame, value: Any) -> Number:
    """The number with the other sign."""
    if type(value) not in _NUMBERS:
        raise Fault(f"cannot change the sign of {kind_of(value)}", "make a number with int() or float() first")
    return result(-number(value))


def number(value: Number) -> Number:
    """The number, if it is finite and within 64 bits; larger ones could cost any amount of time."""
    return require_whole(value) if type(value) is int else require_finite(value)


def result(value: Number) -> Number:
    """The number as a result of arithmetic; raises Fault when it left the range."""
    if type(value) is int:
        if -WHOLE_LIMIT < value < WHOLE_LIMIT:
            return value
        raise Fault("the whole number becomes too large", "whole numbers stay below 2^63; use float() for more")
    if isfinite(value):
        return value
    raise Fault("the number becomes too large")


BINARY: dict[str, Callable[[Frame, Any, Any], Any]] = {
    "==": equal,
    "!=": unequal,
    "<": less,
    "<=": less_or_equal,
    ">": greater,
    ">=": greater_or_equal,
    "in": member,
    "not in": not_member,
    "+": add,
    "-": subtract,
    "*": multiply,
    "/": divide,
    "%": remainder,
}


def _equal_containers(frame: Frame, left: Any, right: Any, depth: int) -> bool:
    kind = kind_of(left)
    if kind != kind_of(right):
        return False
    frame.charge(6)
    if len(left) != len(right):
        return False
    if depth >= VALUE_DEPTH:
        raise Fault(f"a value that is compared is nested deeper than {VALUE_DEPTH}")
    if kind == "an object":
        return _equal_objects(frame, left, right, depth)
    frame.charge(len(left))
    for one, other in zip(left, right, strict=True):  # noqa: SIM110 - faster than a generator
        if not equal(frame, one, other, depth + 1):
            return False
    return True


def _equal_objects(frame: Frame, left: Mapping[str, Any], right: Mapping[str, Any], depth: int) -> bool:
    frame.charge(len(left) * 3)
    for key in left:  # noqa: SIM110 - faster than a generator
        if key not in right or not equal(frame, left[key], right[key], depth + 1):
            return False
    return True


def _is_item(frame: Frame, value: Any, items: Sequence[Any]) -> bool:
    if type(value) is str and type(items) is list:
        frame.charge(len(items) >> 3)
        return value in items  # a text equals only texts, so the quick test of Python says the same
    frame.charge(len(items) * (1 if type(value) in _SCALARS else 2))
    for item in items:  # noqa: SIM110 - faster than a generator
        if equal(frame, value, item):
            return True
    return False


def _require_order(frame: Frame, left: Any, right: Any) -> None:
    kind, other = type(left), type(right)
    if kind in _NUMBERS and other in _NUMBERS:
        return
    if kind is str and other is str:
        frame.charge(len(left) >> 8)
        return
    raise _no_meaning("order", left, right, "only two numbers or two texts have an order; coalesce() replaces null")


def _require_numbers(verb: str, left: Any, right: Any) -> None:
    if type(left) not in _NUMBERS or type(right) not in _NUMBERS:
        raise _no_meaning(verb, left, right, "make numbers with int() or float() first")


def _require_divisor(right: Number) -> None:
    if right == 0:
        raise Fault("division by zero", "test the divisor first: b == 0 ? null : a / b")


def _no_meaning(verb: str, left: Any, right: Any, hint: str) -> Fault:
    return Fault(f"cannot {verb} {kind_of(left)} and {kind_of(right)}", hint)


def _concatenate(frame: Frame, left: str, right: str) -> str:
    require_room(len(left) + len(right))
    charge_text(frame, left)
    charge_text(frame, right)
    return left + right


def _append(frame: Frame, left: Sequence[Any], right: Sequence[Any]) -> list[Any]:
    size = len(left) + len(right)
    require_items(size)
    frame.charge(size >> 2)
    return [*left, *right]


def require_items(count: int) -> None:
    """Raises Fault if a list of ``count`` items is longer than an expression may make."""
    if count > ITEMS:
        raise Fault(f"the list would have more than {ITEMS} items")
