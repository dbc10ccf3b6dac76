"""The page about tasks and the programs of the examples, run as they stand on a real server."""

from __future__ import annotations

import asyncio
import contextlib
import io
import re
import sys
from pathlib import Path

import pytest

from served import RunningServer

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "how-to" / "write-tasks-in-python.md").read_text(encoding="utf-8")
PROGRAMS = {
    "first_graph.py": "{'count': 8, 'longest': 'workflows'}\n",
    "in_parallel.py": "check_3 failed with ValueError: Task failed: ValueError: 5000 is more than 1000\n"
    "the others gave {'fees': 10.0}\n",
    "follow_events.py": "greet begins on local-1, attempt 1\n  it gave {'greeting': 'Hello, Ada!'}\n"
    "greet begins on local-1, attempt 1\n  it gave {'greeting': 'Hello, Grace!'}\nthe run has succeeded\n",
    "langgraph_tools.py": "the library says: WHY\nthe machine says: 3 letters\n",
}


def test_every_program_is_listed() -> None:
    folder = ROOT / "examples" / "tasks"
    assert {path.name for path in folder.glob("*.py")} == set(PROGRAMS)
    listed = set(re.findall(r"\(tasks/(\w+\.py)\)", (ROOT / "examples" / "README.md").read_text()))
    assert listed == set(PROGRAMS)


@pytest.mark.parametrize("name", PROGRAMS)
async def test_a_program_prints_what_is_promised(server: RunningServer, name: str) -> None:
    program = await asyncio.create_subprocess_exec(
        *(sys.executable, "-W", "ignore", str(ROOT / "examples" / "tasks" / name), server.url),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={"PYTHONPATH": str(ROOT / "src")},
    )
    printed, complaints = await asyncio.wait_for(program.communicate(), 60)
    told = printed.decode().replace("local-1 (unsandboxed)", "local-1")  # as it is called where there is no sandbox
    assert told == PROGRAMS[name], complaints.decode()


async def test_the_page_does_what_it_says(server: RunningServer, tmp_path: Path) -> None:
    blocks = re.findall(r"```(\w*)\n(.*?)```", PAGE, re.DOTALL)
    program = "\n".join(text for kind, text in blocks if kind == "python")
    program = program.replace("http://127.0.0.1:8000", server.url)
    (tmp_path / "page.py").write_text(program)
    printed = io.StringIO()

    def run() -> None:
        with contextlib.redirect_stdout(printed):
            exec(compile(program, str(tmp_path / "page.py"), "exec"), {"__name__": "__main__"})

    await asyncio.to_thread(run)
    assert printed.getvalue() == "".join(text for kind, text in blocks if not kind)
