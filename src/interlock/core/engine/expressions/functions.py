"""The fixed list of functions. Nothing else can be called, and nothing can be added from outside."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence, Sized
from decimal import ROUND_HALF_UP, Context, Decimal
from typing import Any, NamedTuple

from interlock.core.engine.expressions import dates, texts
from interlock.core.engine.expressions.errors import Fault
from interlock.core.engine.expressions.limits import ITEMS, Frame
from interlock.core.engine.expressions.operators import Number, member, number, require_items, result, truthy
from interlock.core.engine.expressions.plain import (
    is_list,
    json_text,
    kind_of,
    make_text,
    parse_json,
    require_room,
    text_of,
)

_WHOLE = re.compile(r"[+-]?[0-9]{1,19}")
_NUMBER = re.compile(r"[+-]?[0-9]{1,400}(?:\.[0-9]{1,400})?(?:[eE][+-]?[0-9]{1,4})?")
_ROUNDING = Context(prec=50, rounding=ROUND_HALF_UP)
_EXACT = 1 << 53  # from here on a float has no digits behind the point
_DIGITS = 15


class Function(NamedTuple):
    """A function: what it runs, how many arguments it takes, and whether it is given them unevaluated."""

    run: Callable[..., Any]
    least: int
    most: int
    is_lazy: bool = False


def _len(_frame: Frame, value: Any) -> int:
    if value is None:
        return 0
    if isinstance(value, Sized) and kind_of(value) in ("text", "a list", "an object"):
        return len(value)
    raise Fault(f"len() needs text, a list or an object, not {kind_of(value)}")


def _slice(frame: Frame, value: Any, start: Any, end: Any = None) -> Any:
    if type(value) is not str and not is_list(value):
        raise Fault(f"slice() needs text or a list, not {kind_of(value)}")
    first, last, _ = slice(_position("slice", start), _position("slice", end)).indices(len(value))
    size = max(last - first, 0)
    if type(value) is str:
        require_room(size)
        return make_text(frame, value[first:last])
    require_items(size)
    frame.charge(size >> 2)
    return list(value[first:last])


def _position(function: str, value: Any) -> int | None:
    if value is None or type(value) is int:
        return value
    raise Fault(f"{function}() takes whole numbers as places, not {kind_of(value)}")


def _int(_frame: Frame, value: Any) -> int:
    if type(value) is str:
        if not _WHOLE.fullmatch(value.strip() if len(value) < 100 else value):
            raise Fault("int() cannot read this text as a whole number", "int(float(x)) cuts off the digits")
        return int(result(int(value)))
    if type(value) is bool:
        return int(value)
    return int(result(int(_want_number("int", value))))


def _float(_frame: Frame, value: Any) -> float:
    if type(value) is str:
        if len(value) > 1000 or not _NUMBER.fullmatch(value.strip()):
            raise Fault("float() cannot read this text as a number")
        return float(result(float(value)))
    if type(value) is bool:
        return float(value)
    return float(_want_number("float", value))


def _bool(_frame: Frame, value: Any) -> bool:
    return truthy(value)


def _round(_frame: Frame, value: Any, digits: Any = 0) -> Number:
    exact = _want_number("round", value)
    if type(digits) is not int or not 0 <= digits <= _DIGITS:
        raise Fault(f"round() takes 0 to {_DIGITS} digits")
    if type(exact) is int:
        return result(exact)
    if abs(exact) < _EXACT:
        # By its decimal digits, so that 2.675 becomes 2.68 as people expect.
        exact = float(Decimal(repr(exact)).quantize(Decimal(1).scaleb(-digits), context=_ROUNDING))
    return exact if digits else result(int(exact))


def _abs(_frame: Frame, value: Any) -> Number:
    return result(abs(_want_number("abs", value)))


def _min(frame: Frame, *values: Any) -> Any:
    return min(_comparable(frame, "min", values), default=None)


def _max(frame: Frame, *values: Any) -> Any:
    return max(_comparable(frame, "max", values), default=None)


def _sum(frame: Frame, *values: Any) -> Number:
    total: Number = 0
    for value in _spread(frame, "sum", values):
        total = result(total + _want_number("sum", value))
    return total


def _keys(frame: Frame, value: Any) -> list[Any]:
    entries = _want_object("keys", value)
    frame.charge(len(entries))
    return list(entries)


def _values(frame: Frame, value: Any) -> list[Any]:
    entries = _want_object("values", value)
    frame.charge(len(entries))
    return [entries[key] for key in entries]


def _has(_frame: Frame, value: Any, key: Any) -> bool:
    if isinstance(value, Mapping):
        return type(key) is str and key in value
    if is_list(value):
        return type(key) is int and -len(value) <= key < len(value)
    if value is None:
        return False
    raise Fault(f"has() needs an object or a list, not {kind_of(value)}", "contains() looks for items and parts")


def _contains(frame: Frame, value: Any, part: Any) -> bool:
    return member(frame, part, value)


def _coalesce(frame: Frame, *values: Callable[[Frame], Any]) -> Any:
    # Lazy, so that coalesce($json.total, $json.a / $json.b) divides only where there is no total.
    for value in values:
        found = value(frame)
        if found is not None:
            return found
    return None


def _parse_json(frame: Frame, value: Any) -> Any:
    return parse_json(frame, texts.want_text("parseJson", value))


def _spread(frame: Frame, function: str, values: tuple[Any, ...]) -> Sequence[Any]:
    """The items of the only argument if that is a list, else the arguments."""
    items: Sequence[Any] = values
    if len(values) == 1:
        if not is_list(values[0]):
            raise Fault(f"{function}() needs a list, or several values, not only {kind_of(values[0])}")
        items = values[0]
    frame.charge(len(items))
    return items


def _comparable(frame: Frame, function: str, values: tuple[Any, ...]) -> Sequence[Any]:
    items = _spread(frame, function, values)
    kinds = {kind_of(item) for item in items}
    if kinds <= {"a number"}:
        return [number(item) for item in items]
    if kinds == {"text"}:
        frame.charge(sum(len(item) for item in items) >> 8)
        return items
    raise Fault(f"{function}() needs only numbers or only texts, and got {' and '.join(sorted(kinds))}")


def _want_number(function: str, value: Any) -> Number:
    if type(value) is int or type(value) is float:
        return number(value)
    raise Fault(f"{function}() needs a number, not {kind_of(value)}", "make one with int() or float() first")


def _want_object(function: str, value: Any) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise Fault(f"{function}() needs an object, not {kind_of(value)}")
    require_items(len(value))
    return value


FUNCTIONS: dict[str, Function] = {
    "len": Function(_len, 1, 1),
    "lower": Function(texts.lower, 1, 1),
    "upper": Function(texts.upper, 1, 1),
    "trim": Function(texts.trim, 1, 1),
    "contains": Function(_contains, 2, 2),
    "startsWith": Function(texts.starts_with, 2, 2),
    "endsWith": Function(texts.ends_with, 2, 2),
    "split": Function(texts.split, 2, 2),
    "join": Function(texts.join, 1, 2),
    "slice": Function(_slice, 2, 3),
    "replace": Function(texts.replace, 3, 3),
    "int": Function(_int, 1, 1),
    "float": Function(_float, 1, 1),
    "str": Function(text_of, 1, 1),
    "bool": Function(_bool, 1, 1),
    "round": Function(_round, 1, 2),
    "abs": Function(_abs, 1, 1),
    "min": Function(_min, 1, ITEMS),
    "max": Function(_max, 1, ITEMS),
    "sum": Function(_sum, 1, ITEMS),
    "keys": Function(_keys, 1, 1),
    "values": Function(_values, 1, 1),
    "has": Function(_has, 2, 2),
    "coalesce": Function(_coalesce, 1, ITEMS, is_lazy=True),
    "json": Function(json_text, 1, 1),
    "parseJson": Function(_parse_json, 1, 1),
    "date": Function(dates.date, 1, 2),
    "now": Function(dates.now, 0, 0),
}
