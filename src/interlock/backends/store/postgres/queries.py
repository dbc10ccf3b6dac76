"""The SQL of this backend: named statements in ``sql/*.sql``, so that they can be read and tried as SQL.

A file is a list of blocks. Each begins with a line ``-- name: x``; whole-line comments explain and are left out.
"""

from __future__ import annotations

import re
from importlib import resources

_NAME = re.compile(r"-- name: (\w+)")


def load(name: str) -> dict[str, str]:
    """The statements of ``sql/<name>.sql`` by name, without comment lines and without a closing semicolon.

    Raises ValueError if a name appears twice, a statement is empty, or SQL stands before the first name.
    """
    text = resources.files(__package__).joinpath("sql", f"{name}.sql").read_text(encoding="utf-8")
    blocks: dict[str, list[str]] = {}
    lines: list[str] | None = None
    for line in text.splitlines():
        if match := _NAME.fullmatch(line.strip()):
            if match[1] in blocks:
                raise ValueError(f"sql/{name}.sql names {match[1]} twice")
            lines = blocks[match[1]] = []
        elif line.strip() and not line.lstrip().startswith("--"):
            if lines is None:
                raise ValueError(f"sql/{name}.sql has SQL before its first name: {line.strip()[:60]}")
            lines.append(line.rstrip())
    return {key: _statement(name, key, block) for key, block in blocks.items()}


def _statement(file: str, name: str, lines: list[str]) -> str:
    text = "\n".join(lines).removesuffix(";")
    if not text:
        raise ValueError(f"sql/{file}.sql has no statement under {name}")
    return text
