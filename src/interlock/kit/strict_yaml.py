"""YAML as the house accepts it: JSON values in a kinder spelling, and nothing that surprises.

The value is built from the events of the parser, one by one, so that every limit is met while reading and every
refusal knows its line. No constructor of PyYAML ever runs. What a plain (unquoted) scalar means:

* empty, ``~`` and ``null`` are null; ``true`` and ``false`` are booleans; both also as ``True`` or ``TRUE``;
* what JSON would read as a number is that number;
* everything else is text as written: ``on``, ``yes``, ``2026-11-21``, ``0123``, ``0x1F``, ``1_000``, ``12:30``.

Keys are always text as written: ``1:`` is the key "1", ``on:`` the key "on".
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from typing import Any, NoReturn

import yaml

_LOADER = yaml.CSafeLoader if yaml.__with_libyaml__ else yaml.SafeLoader
_WORDS: dict[str, bool | None] = {"": None, "~": None, "null": None, "Null": None, "NULL": None}
_WORDS |= {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}
_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(\.[0-9]+)?([eE][-+]?[0-9]+)?")
_MAX_DIGITS = 4300  # the longest integer that Python writes back as text
_BYTE_ORDER_MARK = "\ufeff"
_FORBIDDEN = re.compile("[^\t\n\r -~\x85\xa0-\ud7ff\ue000-\ufefe\uff00-\ufffd\U00010000-\U0010ffff]")
_NOT_TEXT = re.compile("[\0\ud800-\udfff]")
_COPIES = 4  # text repeated by aliases may be this many times the byte limit
_UNFINISHED = object()


class StrictYamlError(ValueError):
    """The text is not YAML that the house accepts.

    ``line`` and ``column`` count from 1, ``reason`` says what is wrong there, ``hint`` what to do about it;
    ``too_large`` tells a text over its byte limit from all other reasons.
    """

    def __init__(self, reason: str, *, line: int = 1, column: int = 1, hint: str, too_large: bool = False) -> None:
        super().__init__(f"line {line}, column {column}: {reason}; {hint}")
        self.reason = reason
        self.line = line
        self.column = column
        self.hint = hint
        self.too_large = too_large


def load(
    text: str, *, max_bytes: int = 262_144, max_aliases: int = 50, max_depth: int = 64, max_nodes: int = 200_000
) -> Any:
    """Return the one document in ``text`` as dict, list, str, int, float, bool or None, without shared parts.

    Refused: tags of any kind, a second document, the same key twice, keys that are not text, merge keys (``<<``),
    control characters, numbers out of range, more than ``max_bytes`` bytes of UTF-8, ``max_depth`` collections
    inside each other, ``max_nodes`` values after all aliases are replaced by what they stand for, or
    ``max_aliases`` aliases. Raises StrictYamlError and nothing else.
    """
    _refuse_large(text, max_bytes)
    text = text.removeprefix(_BYTE_ORDER_MARK)
    _refuse_control_characters(text)
    try:
        return _Document(text, max_bytes * _COPIES, max_aliases, max_depth, max_nodes).read()
    except StrictYamlError:
        raise
    except yaml.MarkedYAMLError as error:
        raise _explain(error) from error
    except (yaml.YAMLError, ValueError, OverflowError) as error:  # an escape beyond the last character, if not libyaml
        raise StrictYamlError(str(error), hint="check the escapes in double-quoted text") from error


def _refuse_large(text: str, max_bytes: int) -> None:
    if len(text) > max_bytes or len(text.encode(errors="replace")) > max_bytes:
        hint = f"at most {max_bytes} bytes are allowed"
        raise StrictYamlError("the text is too large", hint=hint, too_large=True)


def _refuse_control_characters(text: str) -> None:
    found = _FORBIDDEN.search(text)
    if found:
        line = text.count("\n", 0, found.start()) + 1
        column = found.start() - text.rfind("\n", 0, found.start())
        reason = f"the character U+{ord(found[0]):04X} is not allowed"
        raise StrictYamlError(reason, line=line, column=column, hint="remove it, or escape it in double quotes")


class _Document:
    """One reading of one text; keeps the anchors and what is left of the limits."""

    def __init__(self, text: str, copied_text: int, aliases: int, depth: int, nodes: int) -> None:
        self._events: Iterator[Any] = yaml.parse(text, Loader=_LOADER)
        self._anchors: dict[str | None, Any] = {}
        self._copied_text = copied_text
        self._aliases = aliases
        self._max_depth = depth
        self._nodes = nodes

    def read(self) -> Any:
        next(self._events)  # the start of the stream
        if isinstance(next(self._events), yaml.StreamEndEvent):
            raise StrictYamlError("the text is empty", hint="write one document")
        value = self._value(next(self._events), 0)
        next(self._events)  # the end of the document
        after = next(self._events)
        if not isinstance(after, yaml.StreamEndEvent):
            _refuse(after, "a second document begins here", "write one document and no second ---")
        return value

    def _value(self, event: yaml.NodeEvent, depth: int) -> Any:
        if isinstance(event, yaml.AliasEvent):
            return self._alias(event, depth)
        self._spend_node(event)
        _refuse_tag(event)
        if not isinstance(event, yaml.ScalarEvent):
            return self._collection(event, depth + 1)
        value = _scalar(event)
        self._remember(event, value)
        return value

    def _collection(self, event: yaml.NodeEvent, depth: int) -> Any:
        self._refuse_depth(event, depth)
        self._remember(event, _UNFINISHED)
        value = self._mapping(depth) if isinstance(event, yaml.MappingStartEvent) else self._sequence(depth)
        self._remember(event, value)
        return value

    def _sequence(self, depth: int) -> list[Any]:
        items = []
        while not isinstance(event := next(self._events), yaml.SequenceEndEvent):
            items.append(self._value(event, depth))
        return items

    def _mapping(self, depth: int) -> dict[str, Any]:
        members: dict[str, Any] = {}
        while not isinstance(event := next(self._events), yaml.MappingEndEvent):
            key = self._key(event)
            if key in members:
                _refuse(event, f"the key {key[:100]!r} appears twice", "keep one of the two")
            members[key] = self._value(next(self._events), depth)
        return members

    def _key(self, event: yaml.NodeEvent) -> str:
        if not isinstance(event, yaml.ScalarEvent):
            _refuse(event, "a key must be plain or quoted text", "lists, mappings and aliases cannot be keys")
        _refuse_tag(event)
        if _is_plain(event) and not event.value:
            _refuse(event, "a key is missing before the colon", 'write the key, or "" for an empty one')
        if _is_plain(event) and event.value == "<<":
            _refuse(event, "merge keys (<<) are not supported", "write the keys out here")
        key = _text(event)
        self._remember(event, key)
        return key

    def _alias(self, event: yaml.AliasEvent, depth: int) -> Any:
        self._aliases -= 1
        if self._aliases < 0:
            _refuse(event, "there are too many aliases", "write the values out")
        name = event.anchor
        if name not in self._anchors:
            _refuse(event, f"no anchor &{name} stands before this alias", "check the name")
        value = self._anchors[name]
        if value is _UNFINISHED:
            _refuse(event, f"the alias *{name} stands inside its own anchor", "a value cannot contain itself")
        return self._copy(value, event, depth)

    def _copy(self, value: Any, at: yaml.Event, depth: int) -> Any:
        """Return ``value`` again, paid for as if it had been written out ``at`` that place."""
        self._spend_node(at)
        if isinstance(value, str):
            self._spend_text(value, at)
            return value
        if not isinstance(value, dict | list):
            return value
        self._refuse_depth(at, depth + 1)
        if isinstance(value, list):
            return [self._copy(item, at, depth + 1) for item in value]
        for key in value:
            self._spend_text(key, at)
        return {key: self._copy(item, at, depth + 1) for key, item in value.items()}

    def _remember(self, event: yaml.NodeEvent, value: Any) -> None:
        if event.anchor is not None:
            self._anchors[event.anchor] = value

    def _refuse_depth(self, at: yaml.Event, depth: int) -> None:
        if depth > self._max_depth:
            _refuse(at, f"the text is nested more than {self._max_depth} levels deep", "use fewer levels")

    def _spend_node(self, at: yaml.Event) -> None:
        self._nodes -= 1
        if self._nodes < 0:
            _refuse(at, "the document has too many values", "split it, or use fewer aliases")

    def _spend_text(self, text: str, at: yaml.Event) -> None:
        self._copied_text -= len(text)
        if self._copied_text < 0:
            _refuse(at, "the aliases repeat too much text", "use fewer aliases")


def _scalar(event: yaml.ScalarEvent) -> Any:
    text: str = event.value
    if not _is_plain(event):
        return _text(event)
    if text in _WORDS:
        return _WORDS[text]
    number = _NUMBER.fullmatch(text)
    return _number(number, event) if number else text


def _number(number: re.Match[str], at: yaml.Event) -> int | float:
    written = number[0]
    if number[1] is None and number[2] is None:
        if len(written) > _MAX_DIGITS:
            _refuse(at, f"the number has more than {_MAX_DIGITS} digits", "quote it to keep it as text")
        return int(written)
    value = float(written)
    if math.isinf(value):
        _refuse(at, f"the number {written[:40]} is out of range", "quote it to keep it as text")
    return value


def _text(event: yaml.ScalarEvent) -> str:
    text: str = event.value
    if event.style == '"' and _NOT_TEXT.search(text):
        _refuse(event, "the text contains the NUL character or half a surrogate pair", "leave it out")
    return text


def _is_plain(event: yaml.ScalarEvent) -> bool:
    return not event.style  # None or "", by parser


def _refuse_tag(event: yaml.NodeEvent) -> None:
    tag = getattr(event, "tag", None)
    if tag is not None:
        _refuse(event, f"tags are not allowed, found {tag[:100]}", "remove it; quote a value to make it text")


def _refuse(at: yaml.Event, reason: str, hint: str) -> NoReturn:
    line, column = (at.start_mark.line + 1, at.start_mark.column + 1) if at.start_mark else (1, 1)
    raise StrictYamlError(reason, line=line, column=column, hint=hint)


def _explain(error: yaml.MarkedYAMLError) -> StrictYamlError:
    """Say where and why the parser stopped, and where the part it was in begins."""
    mark = error.problem_mark or error.context_mark
    line, column = (mark.line + 1, mark.column + 1) if mark else (1, 1)
    reason = str(error.problem)
    if error.context and error.context_mark:
        reason += f" {error.context} that begins in line {error.context_mark.line + 1}"
    hint = "check the indentation (no tabs), the colons and the quotes before this place"
    return StrictYamlError(reason, line=line, column=column, hint=hint)
