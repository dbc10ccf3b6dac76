"""Rules of the house that no linter knows."""

from __future__ import annotations

import re
from pathlib import Path

from interlock.core.events import EVENT_TYPES

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "src" / "interlock"
MAX_LINES = 400
BANNED_NAMES = re.compile(r"(^|_)(util|utils|helper|helpers|manager|common)(_|$)")
SQL = re.compile(r"\b(select\s.+\sfrom|insert\s+into|update\s+\w+\s+set|delete\s+from)\b", re.IGNORECASE | re.DOTALL)


def python_files() -> list[Path]:
    return sorted(path for path in SOURCE.rglob("*.py") if not path.name.startswith("test_"))


def test_files_stay_under_400_lines() -> None:
    long = {str(path.relative_to(ROOT)): len(path.read_text().splitlines()) for path in python_files()}
    assert {name: lines for name, lines in long.items() if lines > MAX_LINES} == {}


def test_no_file_is_named_after_nothing() -> None:
    assert [str(path) for path in python_files() if BANNED_NAMES.search(path.stem)] == []


def test_every_module_says_what_it_is_for() -> None:
    silent = [
        str(path.relative_to(ROOT))
        for path in python_files()
        if path.read_text().strip() and not path.read_text().lstrip().startswith(('"""', "'''"))
    ]
    assert silent == []


def test_every_package_has_a_charter() -> None:
    packages = [path for path in SOURCE.iterdir() if path.is_dir() and (path / "__init__.py").exists()]
    assert [path.name for path in packages if not (path / "__init__.py").read_text().startswith('"""')] == []


def test_sql_is_written_only_in_the_store() -> None:
    store = SOURCE / "backends" / "store"
    found = []
    for path in python_files():
        if store in path.parents or "__pycache__" in path.parts:
            continue
        strings = re.findall(r'"""(?:.|\n)*?"""|"(?:[^"\\\n]|\\.)*"', path.read_text())
        found += [f"{path.relative_to(ROOT)}: {text[:60]}" for text in strings if SQL.search(text) and "$1" in text]
    assert found == []


def test_event_catalogue_matches_its_reference_page() -> None:
    page = (ROOT / "docs" / "reference" / "events.md").read_text()
    table = page.split("## Fields")[0]
    documented = set(re.findall(r"^\| `([a-z_]+\.[a-z_]+)`", table, re.MULTILINE))
    assert documented == set(EVENT_TYPES)


def test_event_fields_match_their_reference_page() -> None:
    fields = (ROOT / "docs" / "reference" / "events.md").read_text().split("## Fields")[1].split("## Rules")[0]
    rows = re.findall(r"^\| (`[^|]+`) \| ([^|]+) \|", fields, re.MULTILINE)
    documented = {
        name: {
            re.match(r"[a-z_]+", part.strip()).group()
            for part in re.split(r",\s*(?![^{]*\})", re.sub(r"\([^)]*\)", "", text))
        }  # type: ignore[union-attr]
        for names, text in rows
        for name in re.findall(r"`([a-z_.]+)`", names)
    }
    actual = {name: set(kind.__struct_fields__) for name, kind in EVENT_TYPES.items()}
    assert documented == actual
