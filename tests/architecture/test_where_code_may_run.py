"""I5: nothing in the server compiles, imports or unpickles what somebody sent; the sandbox's own program alone does."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[2] / "src" / "interlock"
INSIDE = "nodes/code/inside.py"
RUNS_TEXT = {"eval", "exec", "compile", "__import__", "execfile", "breakpoint"}
READS_CODE = {
    *("pickle", "_pickle", "cPickle", "marshal", "shelve", "dbm", "dill", "joblib", "cloudpickle", "jinja2", "mako"),
    *("code", "codeop", "runpy", "imp", "pdb", "yaml", "torch", "pandas"),
}
SHELLS = {"system", "popen", "getoutput", "getstatusoutput"}
IMPORTERS = {"import_module", "spec_from_file_location", "SourceFileLoader", "run_path", "run_module"}

ALLOWED = {
    (INSIDE, "exec"): "is what the sandbox runs",
    (INSIDE, "compile"): "is what the sandbox runs",
    (INSIDE, "cloudpickle"): "is what the sandbox runs",
    ("client/packing.py", "pickle"): "writes pickles in its user's own process, and reads none",
    ("client/__init__.py", "import_module"): "loads its own parts when they are asked for",
    ("nodes/registry.py", "import_module"): "loads the folders of node types that it finds beside it",
    ("backends/executor/pool/child.py", "import_module"): "loads the registry that the server names",
    ("backends/executor/ray/host.py", "import_module"): "loads the registry that the server names",
    ("kit/strict_yaml.py", "yaml"): "reads events of YAML and makes plain values of them itself",
}
"""Where such a word stands, and why it may."""


def suspicious() -> Iterator[tuple[str, ast.Module]]:
    """The modules in whose text one of the words stands at all; parsing all others would take seconds."""
    plain = FORBIDDEN - {"compile", "code"}
    looks_so = re.compile(rf"\b(?:{'|'.join(plain)})\b|(?<!re\.)\bcompile\b|\b(?:import|from)\b.*\bcode\b")
    for path in SOURCE.rglob("*.py"):
        text = path.read_text()
        if looks_so.search(text):
            yield path.relative_to(SOURCE).as_posix(), ast.parse(text)


def words(tree: ast.AST) -> Iterator[str]:
    """What a module uses that could run what it is given."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (name.name.partition(".")[0] for name in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level and node.module:
            yield node.module.partition(".")[0]
        elif isinstance(node, ast.Call):
            yield from _called(node)


def _called(call: ast.Call) -> Iterator[str]:
    name, root = "", None
    if isinstance(call.func, ast.Name):
        name = call.func.id
    elif isinstance(call.func, ast.Attribute):
        name, root = call.func.attr, getattr(call.func.value, "id", "")
    if name in IMPORTERS and not _is_fixed(call.args[0]):
        yield name
    if (name in RUNS_TEXT and root in (None, "builtins")) or (name in SHELLS and root in ("os", "subprocess")):
        yield name
    if name == "getattr" and isinstance(call.args[1], ast.Constant) and call.args[1].value in RUNS_TEXT:
        yield str(call.args[1].value)
    if root == "subprocess" and any(keyword.arg == "shell" for keyword in call.keywords):
        yield "shell"


def _is_fixed(argument: ast.expr) -> bool:
    """Whether a text, or a name in capitals, says which module it is."""
    return isinstance(argument, ast.Constant) or (isinstance(argument, ast.Name) and argument.id.isupper())


FORBIDDEN = RUNS_TEXT | READS_CODE | SHELLS | IMPORTERS | {"shell"}


def test_only_the_program_in_the_sandbox_runs_what_it_is_given() -> None:
    found = {(where, word) for where, tree in suspicious() for word in words(tree) if word in FORBIDDEN}
    assert found == ALLOWED.keys()


def test_nothing_of_the_server_imports_the_program_in_the_sandbox() -> None:
    """It is started by its name, in a process of its own."""
    imports = re.compile(r"^\s*(?:from|import)\s+interlock\.nodes\.code(?:\.inside\b|\s+import\s.*\binside\b)", re.M)
    assert [str(path) for path in SOURCE.rglob("*.py") if imports.search(path.read_text())] == []


@pytest.mark.parametrize(
    "text",
    [
        "eval(x)",
        "exec(x)",
        "compile(x, '', 'exec')",
        "import pickle",
        "from cloudpickle import loads",
        "getattr(builtins, 'eval')(x)",
        "builtins.exec(x)",
        "import jinja2\njinja2.Environment()",
        "os.system(x)",
        "subprocess.run(x, shell=True)",
        "importlib.import_module(x)",
        "import_module(f'{x}')",
        "import marshal",
    ],
)
def test_the_check_sees_what_it_is_for(text: str) -> None:
    assert FORBIDDEN & set(words(ast.parse(text)))
