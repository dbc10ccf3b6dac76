"""The walk through a node type works as it is written."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

from interlock.backends.schema.jsonschema_rs import JsonSchemas
from interlock.core.definition import validate_definition
from interlock.kit import strict_yaml
from interlock.nodes import load, schema
from interlock.nodes.document import document
from interlock.nodes.registry import NodeRegistry
from interlock.nodes.testing import run_node
from interlock.ports.node import Done, Node

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "how-to" / "add-a-node-type.md").read_text(encoding="utf-8")
CODE, TEST = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
TESTS = re.findall(r"^def (test_\w+)", TEST, re.MULTILINE)


@pytest.fixture
def shout(monkeypatch: pytest.MonkeyPatch) -> Node:
    """The node of the page, where its folder would be."""
    for name in ("interlock.nodes.shout", "interlock.nodes.shout.node"):
        monkeypatch.setitem(sys.modules, name, ModuleType(name))
    exec(compile(CODE, "node.py", "exec", dont_inherit=True), vars(sys.modules["interlock.nodes.shout.node"]))
    node: Node = sys.modules["interlock.nodes.shout.node"].NODE  # type: ignore[attr-defined]
    return node


@pytest.fixture
def registry(shout: Node) -> NodeRegistry:
    registry = load()
    registry.add(shout)
    return registry


@pytest.mark.parametrize("name", TESTS)
def test_its_own_tests_pass(shout: Node, name: str) -> None:
    found: dict[str, Callable[[], None]] = {}
    exec(compile(TEST, "test_node.py", "exec", dont_inherit=True), found)
    found[name]()


def test_there_are_tests_of_the_good_and_of_the_bad_case() -> None:
    assert len(TESTS) == 2


def test_its_examples_are_true_and_documented(shout: Node, registry: NodeRegistry) -> None:
    for example in shout.type.examples:
        assert run_node(shout, example["parameters"]) == Done(output=example["output"])
    assert "\n## shout\n" in document(registry)


def test_the_workflow_of_the_page_is_valid_with_it_and_not_without(registry: NodeRegistry) -> None:
    source = strict_yaml.load(re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)[0])
    check = JsonSchemas(registry.types).check_parameters
    assert validate_definition(source, registry.types, check_parameters=check).errors == ()
    without = validate_definition(source, load().types, check_parameters=lambda *_: [])
    assert [problem.code for problem in without.errors] == ["NODE_TYPE_UNKNOWN"]


def test_the_words_for_schemas_are_all_there() -> None:
    sentence = PAGE.split("`interlock/nodes/schema.py`:")[1].split(".")[0]
    assert [word for word in re.findall(r"`(\w+)`", sentence) if not hasattr(schema, word)] == []


def test_the_files_it_names_exist() -> None:
    named = re.findall(r"(?<![\w/])((?:tests|docs)/[\w./-]+\.\w+)", PAGE)
    assert named
    assert [path for path in named if not (ROOT / path).is_file()] == []
