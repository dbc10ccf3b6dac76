"""The one-minute form of the reliability suite: kills, a death between effect and result, and races for an approval."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path

import pytest

PROGRAM = Path(__file__).parents[1] / "crash" / "run.py"


@pytest.mark.xdist_group("crash")
@pytest.mark.timeout(300)
async def test_nothing_is_lost_or_done_twice_when_servers_are_killed(tmp_path: Path) -> None:
    program = await asyncio.create_subprocess_exec(
        *(sys.executable, str(PROGRAM), "--scale", "short", "--out", str(tmp_path)),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await program.communicate()
    verdicts = {path.stem: json.loads(path.read_bytes())["verdict"] for path in tmp_path.glob("*.json")}
    assert verdicts == {"A1": "PASS", "A6": "PASS", "C6": "PASS"}, output.decode()
    assert program.returncode == 0
