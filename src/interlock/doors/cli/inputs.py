"""What a person hands to a command: JSON on the command line or in a file, and definitions of workflows."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from interlock.core.workflow import Problem
from interlock.doors.cli.failures import WrongUseError
from interlock.doors.cli.late import late
from interlock.kit import strict_json

if TYPE_CHECKING:
    from interlock.kit import strict_yaml
else:
    strict_yaml = late("interlock.kit.strict_yaml")

MAX_DEFINITION_BYTES = 1_048_576
_JSON_STEP = "Write JSON such as '{\"n\": 3}', or @FILE for the content of a file, or @- for standard input."


def read_value(text: str, option: str) -> Any:
    """The value an option holds: JSON, ``@file`` (JSON, or YAML by its ending) or ``@-``. Raises WrongUseError."""
    if not text.startswith("@"):
        return _json(text.encode(errors="surrogateescape"), f"The value of {option}")
    if text == "@-":
        return _json(sys.stdin.buffer.read(), "Standard input")
    path = Path(text[1:])
    body = _read(path)
    if path.suffix in (".yaml", ".yml"):
        return _yaml(body, str(path))
    return _json(body, str(path))


def read_definition(path: Path) -> tuple[dict[str, Any] | None, list[Problem]]:
    """The definition in a file, or why it cannot be read. Raises WrongUseError if there is no such file."""
    body = _read(path)
    try:
        source = _parse(path, body)
    except strict_yaml.StrictYamlError as error:
        place = f"line {error.line}, column {error.column}"
        return None, [Problem(code="SYNTAX", message=error.reason, path=place, hint=error.hint)]
    except strict_json.StrictJsonError as error:
        place = "" if error.position is None else f"byte {error.position}"
        hint = "mend the JSON at this place" if place else "write it smaller or less nested"
        return None, [Problem(code="SYNTAX", message=error.reason, path=place, hint=hint)]
    if not isinstance(source, dict):
        kind = "a list" if isinstance(source, list) else "a single value"
        hint = "write a mapping with name, nodes and connections (a graph) or states and transitions (a flow)"
        return None, [Problem(code="SYNTAX", message=f"the file holds {kind}, not a definition", path="", hint=hint)]
    source.setdefault("name", path.stem)
    return source, []


def read_text(path: Path) -> str:
    """The text in a file. Raises WrongUseError."""
    return _text(_read(path), str(path))


def _parse(path: Path, body: bytes) -> Any:
    if path.suffix == ".json":
        return strict_json.decode(body, max_bytes=MAX_DEFINITION_BYTES, max_keys=200_000)
    return strict_yaml.load(_text(body, str(path)), max_bytes=MAX_DEFINITION_BYTES)


def _json(body: bytes, what: str) -> Any:
    try:
        return strict_json.decode(body)
    except strict_json.StrictJsonError as error:
        raise WrongUseError(f"{what} is not JSON: {error}.", step=_JSON_STEP) from error


def _yaml(body: bytes, what: str) -> Any:
    try:
        return strict_yaml.load(_text(body, what))
    except strict_yaml.StrictYamlError as error:
        raise WrongUseError(f"{what} cannot be read: {error}.") from error


def _text(body: bytes, what: str) -> str:
    try:
        return body.decode()
    except UnicodeDecodeError as error:
        raise WrongUseError(f"{what} is not UTF-8 text (byte {error.start}).", step="Save it as UTF-8.") from error


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        reason = (error.strerror or "unknown reason").lower()
        raise WrongUseError(f"The file {path} cannot be read: {reason}.", step="Check its name and place.") from error
