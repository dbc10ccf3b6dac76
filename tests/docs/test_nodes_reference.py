"""The reference of the node types is what the node types say of themselves."""

from __future__ import annotations

from pathlib import Path

from interlock.nodes import load
from interlock.nodes.document import document

PAGE = Path(__file__).parents[2] / "docs/reference/nodes.md"


def test_the_page_is_up_to_date() -> None:
    made = document(load())
    assert PAGE.read_text(encoding="utf-8") == made, "python -m interlock.nodes.document > docs/reference/nodes.md"


def test_the_page_has_a_section_for_each_type() -> None:
    made = document(load())
    assert all(f"\n## {name}\n" in made for name in load().types)
