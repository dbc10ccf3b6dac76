"""The client library works in a bare Python, and costs nothing to those who do not use it."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

SOURCE = Path(__file__).parents[2] / "src" / "interlock"


def bare(folder: Path, program: str) -> str:
    """What a program prints in a Python that has nothing but its standard library and this folder."""
    given = f"import sys; sys.path.insert(0, {str(folder)!r})\n{program}"
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", given], check=False, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_it_needs_its_own_files_and_the_standard_library_only(tmp_path: Path) -> None:
    shutil.copytree(SOURCE / "client", tmp_path / "interlock" / "client")
    shutil.copy(SOURCE / "__init__.py", tmp_path / "interlock")
    program = """
import interlock
import interlock.client as client
for name in client.__all__:
    getattr(client, name)
@interlock.task(cpu=2, memory="1GiB")
def inc(params):
    return {"y": params["x"] + 1}
graph = interlock.Graph("bare")
graph.add(inc, x=graph.add(inc, x=1)["y"])
foreign = {name.partition(".")[0] for name in sys.modules} - set(sys.stdlib_module_names) - {"__main__", "interlock"}
print(len(graph.nodes), sorted(foreign))
"""
    assert bare(tmp_path, program).split() == ["2", "[]"]


def test_importing_interlock_loads_nothing_of_it() -> None:
    program = """
import interlock
print([name for name in sys.modules if name.startswith('interlock.')], 'asyncio' in sys.modules)
"""
    assert bare(SOURCE.parent, program).strip() == "[] False"


def test_every_public_name_is_found_and_others_are_not() -> None:
    program = """
import interlock
print(interlock.client.__name__, interlock.task.__name__, interlock.Graph.__name__)
for module in (interlock, interlock.client):
    try:
        module.nothing
    except AttributeError as error:
        print(error)
"""
    told = bare(SOURCE.parent, program).splitlines()
    assert told[0] == "interlock.client task Graph"
    assert told[1:] == [
        "module 'interlock' has no attribute 'nothing'",
        "module 'interlock.client' has no attribute 'nothing'",
    ]
