"""The catalogue of node types: what can be added, and what is refused at once."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from interlock import nodes
from interlock.core.node_type import NodeType
from interlock.nodes import NodeRegistry, load, registry
from interlock.ports.node import Attempt, Done, Services

_TYPE = NodeType(name="shout", title="Shout", description="Says it louder.")


class Shout:
    """A node of somebody else."""

    def __init__(self, **changes: Any) -> None:
        self.type = msgspec.structs.replace(_TYPE, **changes)

    def run(self, attempt: Attempt, services: Services) -> Done:
        return Done(output=str(attempt.parameters["text"]).upper())


def test_a_node_that_was_added_is_known_by_its_name() -> None:
    added = NodeRegistry()
    node = Shout()
    added.add(node)
    assert added.node("shout") is node
    assert added.types["shout"] is node.type
    assert "shout" not in added.shipped


def test_the_types_are_a_live_view_that_cannot_be_changed() -> None:
    added = NodeRegistry()
    view = added.types
    added.add(Shout())
    assert list(view) == ["shout"]
    with pytest.raises(TypeError):
        view["other"] = Shout().type  # type: ignore[index]  # on purpose


def test_kernel_types_have_no_code() -> None:
    with pytest.raises(KeyError):
        load().node("wait")


def test_a_taken_name_is_refused() -> None:
    full = load()
    with pytest.raises(ValueError, match="'echo' is there already"):
        full.add(Shout(name="echo"))
    assert full.node("echo") is load().node("echo")


@pytest.mark.parametrize("name", ["", "Shout", "shout out", "1shout", "a" * 65, "../shout"])
def test_a_bad_name_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="must be lower-case"):
        NodeRegistry().add(Shout(name=name))


@pytest.mark.parametrize("missing", ["title", "description"])
def test_a_type_without_words_is_refused(missing: str) -> None:
    with pytest.raises(ValueError, match="needs a title and a description"):
        NodeRegistry().add(Shout(**{missing: ""}))


@pytest.mark.parametrize("wrong", [object(), Shout(runs="kernel")], ids=["no node", "kernel"])
def test_what_is_no_task_node_is_refused(wrong: Any) -> None:
    with pytest.raises(ValueError, match="is no task node"):
        NodeRegistry().add(wrong)


# Discovery, in a folder of the test's own


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty package in place of the shipped nodes."""
    package = tmp_path / "found_nodes"
    package.mkdir()
    (package / "__init__.py").write_text("", encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(registry, "_PACKAGE", "found_nodes")
    monkeypatch.setattr(registry, "__file__", str(package / "registry.py"))
    yield package
    for name in [name for name in sys.modules if name.partition(".")[0] == "found_nodes"]:
        del sys.modules[name]


def _write(folder: Path, name: str, code: str) -> None:
    (folder / name).mkdir()
    (folder / name / "__init__.py").write_text("", encoding="utf-8")
    (folder / name / "node.py").write_text(code, encoding="utf-8")


_NODE = """
from interlock.core.node_type import NodeType
class Node:
    type = NodeType(name="{name}", title="t", description="d")
    def run(self, attempt, services): ...
NODE = Node()
"""
_KERNEL = """
from interlock.core.node_type import NodeType
TYPE = NodeType(name="pause", title="t", description="d", runs="{runs}")
"""


def test_a_folder_is_all_it_takes_to_add_a_type(folder: Path) -> None:
    _write(folder, "hello", _NODE.format(name="hello"))
    _write(folder, "pause", _KERNEL.format(runs="kernel"))
    found = load()
    assert found.types.keys() == {"hello", "pause"} == found.shipped
    assert found.node("hello").type.name == "hello"


@pytest.mark.parametrize(
    ("code", "told"),
    [
        (_NODE.format(name="goodbye"), "the folder 'hello' holds the node type 'goodbye'"),
        ("", "found_nodes.hello.node has neither NODE nor TYPE"),
        (_KERNEL.format(runs="task"), "TYPE must run as kernel"),
        ("NODE = 7", "is no task node"),
    ],
)
def test_a_bad_folder_fails_at_once_with_its_name(folder: Path, code: str, told: str) -> None:
    _write(folder, "hello", code)
    with pytest.raises(ValueError, match=told):
        load()


def test_a_node_that_cannot_be_imported_fails_at_once(folder: Path) -> None:
    _write(folder, "hello", "import no_such_library")
    with pytest.raises(ModuleNotFoundError, match="no_such_library"):
        load()


def test_modules_beside_the_folders_are_no_nodes() -> None:
    shipped = {path.parent.name for path in Path(nodes.__file__).parent.glob("*/node.py")}
    assert load().types.keys() == shipped
