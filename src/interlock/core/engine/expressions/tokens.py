"""From text to tokens: linear, bounded, and the only place that knows how things are spelled."""

from __future__ import annotations

import re
from typing import Any, NamedTuple

from interlock.core.engine.expressions.errors import Fault
from interlock.core.engine.expressions.limits import SOURCE_BYTES, WHOLE_LIMIT


class Token(NamedTuple):
    """A word of the language; ``kind`` is number, text, name, operator or end, ``at`` its offset in the text."""

    kind: str
    text: str
    at: int
    value: Any = None  # of a number or text


_WORD = re.compile(
    r"""
    (?P<space>[ \t\r\n]+)
  | (?P<number>(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?)
  | (?P<name>\$?[^\W\d]\w*)
  | (?P<text>"(?:[^"\\\x00-\x1f]|\\.)*"|'(?:[^'\\\x00-\x1f]|\\.)*')
  | (?P<foreign>\*\*|//|\?\?|\?\.|:=|=>|<<|>>|(?<![=!<>])=(?!=)|&(?!&)|\|(?!\|)|[\^~;`@#])
  | (?P<operator>===|!==|==|!=|<=|>=|&&|\|\||[-+*/%<>!?:.,()\[\]{}])
    """,
    re.VERBOSE,
)
_ESCAPE = re.compile(r"\\(u[0-9a-fA-F]{4}|.)", re.DOTALL)
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "b": "\b", "f": "\f", "/": "/", "\\": "\\", '"': '"', "'": "'"}
_FOREIGN_HINTS = {
    "**": "there is no power operator",
    "//": "divide with / and round the result",
    "??": "use coalesce(a, b)",
    "?.": "a plain dot is enough: a path on null is null",
    ":=": "there are no assignments",
    "=>": "there are no functions to define",
    "=": "compare with ==",
    "&": "use && or and",
    "|": "use || or or",
    "`": "write texts in ' or \"",
    "#": "there are no comments",
    ";": "an expression is one value",
}


def tokenize(text: str, start: int = 0, *, placeholder: bool = False) -> tuple[list[Token], int]:
    """The tokens of ``text`` from ``start`` with a last one of kind end, and the offset behind them.

    With ``placeholder`` they stop at the ``}}`` that closes a template's ``{{`` (the offset is behind it),
    and its absence is a fault. Raises Fault with the place of the first wrong character.
    """
    tokens: list[Token] = []
    position, braces = start, 0
    scan_end = min(len(text), start + SOURCE_BYTES + 2)  # two more, for a closing }} behind the longest source
    while position < scan_end:
        if placeholder and braces == 0 and text.startswith("}}", position):
            return _finish(tokens, text, start, position), position + 2
        token, position = _next(text, position, scan_end)
        if token is not None:
            tokens.append(token)
            braces += (token.text == "{") - (token.text == "}") if token.kind == "operator" else 0
    if scan_end < len(text):
        raise _too_long(start)
    if placeholder:
        raise Fault("the {{ is not closed", "close it with }}", at=max(start - 2, 0))
    return _finish(tokens, text, start, position), position


def _finish(tokens: list[Token], text: str, start: int, end: int) -> list[Token]:
    try:
        size = len(text[start:end].encode())
    except UnicodeEncodeError as broken:
        raise Fault("a character is not valid Unicode", at=start + broken.start) from None
    if size > SOURCE_BYTES:
        raise _too_long(start)
    tokens.append(Token("end", "", end))
    return tokens


def _next(text: str, position: int, scan_end: int) -> tuple[Token | None, int]:
    found = _WORD.match(text, position, scan_end)
    if found is None:
        raise _unreadable(text, position, scan_end)
    kind, word, end = found.lastgroup or "", found.group(), found.end()
    if end == scan_end < len(text):
        raise _too_long(position)
    if kind == "space":
        return None, end
    if kind == "foreign":
        raise Fault(f"there is no operator {word}", _FOREIGN_HINTS.get(word, ""), at=position)
    return Token(kind, word, position, _READERS[kind](text, word, position)), end


def _read_number(text: str, word: str, at: int) -> int | float:
    behind = text[at + len(word) : at + len(word) + 1]
    if behind.isalnum() or behind == "_":
        raise Fault("a number is badly written", "write it as in JSON: 12, 0.5 or 1e3", at=at)
    value: int | float = float(word) if any(mark in word for mark in ".eE") else _whole(word)
    if (isinstance(value, int) and value >= WHOLE_LIMIT) or value == float("inf"):
        raise Fault("a number is too large", "whole numbers stay below 2^63", at=at)
    return value


def _whole(word: str) -> int:
    return int(word) if len(word) < 20 else WHOLE_LIMIT


def _read_name(_text: str, word: str, at: int) -> None:
    if "__" in word:
        raise Fault(f"the name '{word[:40]}' holds '__'", 'read such a key of your data as ["…"]', at=at)


def _read_text(_text: str, word: str, at: int) -> str:
    value = word[1:-1]
    if "\\" in value:
        value = _ESCAPE.sub(lambda escape: _unescape(escape, at), value)
        value = _join_surrogates(value, at)
    if "\x00" in value:
        raise Fault("a text holds the character NUL", at=at)
    return value


def _unescape(escape: re.Match[str], at: int) -> str:
    code = escape.group(1)
    if len(code) == 5:
        return chr(int(code[1:], 16))
    if code not in _ESCAPES:
        raise Fault(f"there is no escape \\{code}", "write a backslash as \\\\", at=at + 1 + escape.start())
    return _ESCAPES[code]


def _join_surrogates(value: str, at: int) -> str:
    # JSON writes characters above U+FFFF as two escapes; half of such a pair is no character.
    try:
        return value.encode("utf-16", "surrogatepass").decode("utf-16")
    except UnicodeDecodeError:
        raise Fault("a text holds half of a surrogate pair", at=at) from None


def _read_operator(_text: str, _word: str, _at: int) -> None:
    return None


_READERS = {"number": _read_number, "name": _read_name, "text": _read_text, "operator": _read_operator}


def _unreadable(text: str, position: int, scan_end: int) -> Fault:
    character = text[position]
    if character in "'\"":
        if scan_end < len(text):
            return _too_long(position)
        return Fault("the text is not closed", f"close it with {character}; write a line break as \\n", at=position)
    shown = character if character.isprintable() else f"U+{ord(character):04X}"
    return Fault(f"the character {shown} has no meaning", at=position)


def _too_long(at: int) -> Fault:
    return Fault(f"the expression is longer than {SOURCE_BYTES} bytes", "compute a part of it in a node before", at=at)
