"""Writes the reference pages that are made from the code, or says which of them are stale.

python -m interlock.bootstrap.document [--check]
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin

from pydantic import SecretStr
from pydantic.fields import FieldInfo

from interlock.config import PREFIX, Settings, known_names
from interlock.doors.http.app_factory import all_operations, all_sockets
from interlock.doors.http.plumbing.routing import route_lines
from interlock.nodes import load as load_nodes
from interlock.nodes.document import document as node_page

ENV_FILE = ".env.example"
SETTINGS_PAGE = "docs/reference/settings.md"
NODES_PAGE = "docs/reference/nodes.md"
ROUTES_TABLE = "docs/reference/routes.txt"

_HEAD = f"""# Settings

In local mode every setting is optional: `interlock up --local` runs without any. Outside it a server needs
`{PREFIX}API_SECRET_KEY`, `{PREFIX}ENCRYPTION_KEY` and, unless people log in with an issuer elsewhere,
`{PREFIX}JWT_SECRET_KEY`; all processes of an installation share them. A setting is taken from the first of these that
has it:

1. the option of the command (`--host`, `--port`, `--data`, `--executor`, `--log-level` …; `--help` lists them),
2. the environment,
3. the file `.env` in the folder where the command runs; [{ENV_FILE}](../../{ENV_FILE}) is one to copy.

Where two names are given they mean the same, and the one that begins with `{PREFIX}` goes first; that name and another
with different values in one place stop the start. So does a name in the environment that begins so and is no setting,
and a value that cannot be used: all problems are listed at once, with the secrets that are missing. Lists are written
with commas. A secret may stand in a file: its name with `_FILE` behind it says where, as `{PREFIX}ENCRYPTION_KEY_FILE`.
`interlock doctor` looks at what the settings lead to.

| name | value | default | what it does |
|---|---|---|---|
"""

_TAIL = f"""
The folder of `{PREFIX}DATA_DIR` follows `XDG_DATA_HOME` where that is set.

This page is made from `src/interlock/config.py` by `make docs`.
"""

_ENV_HEAD = """\
# The settings of Interlock; local mode needs none of them. Copy this file to .env and take the # away where another
# value is wanted; docs/reference/settings.md says more. Made from src/interlock/config.py by `make docs`.
"""

_WORDS: Mapping[type, str] = {
    bool: "true or false",
    int: "whole number",
    float: "number",
    str: "text",
    Path: "path",
    SecretStr: "secret",
    tuple: "list",
    dict: "JSON object",
}
_BOUNDS = {"ge": "≥", "gt": ">", "le": "≤", "lt": "<"}

_COMPUTED = {"data_dir": "~/.local/share/interlock"}
"""Defaults that depend on where the program runs, in words; those of an environment their descriptions tell."""

_SAMPLES = {
    "environment": "production",
    "data_dir": "/var/lib/interlock",
    "database_url": "postgresql://interlock_server:PASSWORD@localhost/interlock",
    "migrate_database_url": "postgresql://interlock_owner:PASSWORD@localhost/interlock",
    "pg_bindir": "/usr/lib/postgresql/18/bin",
    "log_file": "/var/log/interlock.log",
    "token": "TOKEN",
    "mcp_api_keys": '{"32-RANDOM-CHARACTERS-OR-MORE-HERE":{"client_name":"tools","scopes":["tools:read"]}}',
    "allow_key_in_url": "false",
}
"""What stands in the file to copy for settings without a default that could be written down."""


def pages() -> dict[str, str]:
    """Every generated page: its path from the top folder of the project, and its whole text."""
    return {path: make() for path, make in PAGES.items()}


def route_table() -> str:
    """Every route with its door, who may call it, and the scope it needs, one a line."""
    return "\n".join(route_lines([*all_operations(lambda: b""), *all_sockets()])) + "\n"


def settings_page() -> str:
    """The table of all settings, Markdown."""
    return _HEAD + "".join(_row(name, field) for name, field in Settings.model_fields.items()) + _TAIL


def env_file() -> str:
    """A `.env` with every setting, all of them commented out."""
    return _ENV_HEAD + "".join(_entry(name, field) for name, field in Settings.model_fields.items())


def environment_names(field: str) -> list[str]:
    """The environment names of a setting, the one that goes first in front."""
    return [name for name, named in known_names().items() if named == field]


def stale(root: Path, made: Mapping[str, str]) -> list[str]:
    """The pages below ``root`` that are not what was made."""
    return [path for path, text in made.items() if not _is_current(root / path, text)]


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the pages below the current folder; with ``--check`` only name the stale ones. The exit code."""
    parser = argparse.ArgumentParser(prog="python -m interlock.bootstrap.document", description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; exit with 1 if a page is stale")
    check = parser.parse_args(arguments).check
    root = Path.cwd()
    if not (root / SETTINGS_PAGE).parent.is_dir():
        parser.error(f"{root} has no {Path(SETTINGS_PAGE).parent}; run this in the top folder of the project")
    made = pages()
    old = stale(root, made)
    for path in old:
        if not check:
            (root / path).write_text(made[path], encoding="utf-8")
        sys.stdout.write(f"{path} is stale; run `make docs`\n" if check else f"{path} written\n")
    return 1 if check and old else 0


def _is_current(path: Path, text: str) -> bool:
    return path.exists() and path.read_text(encoding="utf-8") == text


def _row(name: str, field: FieldInfo) -> str:
    names = ", ".join(f"`{each}`" for each in environment_names(name))
    text = _default_text(name, field)
    default = f"`{text}`" if text else ""
    return f"| {names} | {_kind(field)} | {default} | {_cell(field.description or '')} |\n"


def _entry(name: str, field: FieldInfo) -> str:
    value = _SAMPLES.get(name) or _default_text(name, field)
    return f"\n# {field.description}\n#{environment_names(name)[0]}={value}\n"


def _default_text(name: str, field: FieldInfo) -> str:
    """The default as it would be written into the environment; empty if there is none."""
    if field.default_factory is not None:
        return _COMPUTED.get(name, "")
    if isinstance(field.default, bool):
        return json.dumps(field.default)
    if isinstance(field.default, tuple):
        return ",".join(field.default)
    return (
        ""
        if field.default is None
        else f"{field.default:g}"
        if isinstance(field.default, float)
        else str(field.default)
    )


def _kind(field: FieldInfo) -> str:
    """What kind of value it takes, with its bounds."""
    wanted = _without_none(field.annotation)
    if get_origin(wanted) is Literal:
        return ", ".join(f"`{choice}`" for choice in get_args(wanted))
    bounds = [f"{sign} {bound:,}" for word, sign in _BOUNDS.items() if (bound := _bound(field, word)) is not None]
    return ", ".join([_WORDS[get_origin(wanted) or wanted], *bounds])


def _without_none(annotation: Any) -> Any:
    if get_origin(annotation) in (Union, UnionType):
        return next(each for each in get_args(annotation) if each is not type(None))
    return annotation


def _bound(field: FieldInfo, word: str) -> float | None:
    return next((getattr(each, word) for each in field.metadata if hasattr(each, word)), None)


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


PAGES: Mapping[str, Callable[[], str]] = {
    ENV_FILE: env_file,
    SETTINGS_PAGE: settings_page,
    NODES_PAGE: lambda: node_page(load_nodes()),
    ROUTES_TABLE: route_table,
}
"""What makes each of them."""


if __name__ == "__main__":
    sys.exit(main())
