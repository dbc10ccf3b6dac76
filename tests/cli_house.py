"""What tests of the command line share: how a command ended, a terminal for it to run in, a wait for executions."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import re
import select
import signal
import struct
import subprocess
import termios
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import httpx2

from interlock.bootstrap.tokens import mint_admin_token
from served import RunningServer

DEADLINE = 30.0
"""Seconds after which a test gives up waiting."""

_ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


@dataclass(frozen=True)
class Ended:
    """How a command ended."""

    code: int
    out: str
    err: str = ""

    @property
    def json(self) -> Any:
        return json.loads(self.out)

    @property
    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.out.splitlines()]

    @property
    def plain(self) -> str:
        """What a terminal was sent, without what steers it."""
        return _ESCAPES.sub("", self.out).replace("\r\n", "\n")


Interlock = Callable[..., Ended]
Started = Callable[..., str]
Write = Callable[[str], str]


def resting(server: RunningServer, execution_id: str) -> dict[str, Any]:
    """The execution, once it rests or has ended."""
    answer = httpx2.get(
        f"{server.url}/api/app/executions/{execution_id}",
        params={"wait_ms": 10_000},
        headers={"authorization": f"Bearer {server.token}"},
        timeout=DEADLINE,
    )
    execution: dict[str, Any] = answer.json()
    assert execution["status"] not in ("NEW", "RUNNING"), execution
    return execution


def new_tenant(server: RunningServer, name: str) -> str:
    """A tenant, made by the operator; its name."""
    headers = {"authorization": f"Bearer {mint_admin_token(server.data_dir)}"}
    made = httpx2.post(f"{server.url}/api/app/tenants", json={"name": name}, headers=headers, timeout=DEADLINE)
    assert made.status_code in (200, 201), made.text
    return name


def on_a_terminal(
    command: Sequence[str], dialogue: Sequence[tuple[str, str | Callable[[int], object]]], environment: dict[str, str]
) -> Ended:
    """Run a command on a terminal of 110 by 40; each time a text appears, type what stands beside it,
    or call it with the command's process id."""
    screen, inside = pty.openpty()
    fcntl.ioctl(inside, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 110, 0, 0))
    # Handed down as a terminal has it: what runs in the background of a shell hands down that Ctrl-C is ignored.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    process = subprocess.Popen(
        command,
        stdin=inside,
        stdout=inside,
        stderr=inside,
        env={**environment, "TERM": "xterm-256color"},
        start_new_session=True,
    )
    signal.signal(signal.SIGINT, before)
    os.close(inside)
    written = b""
    left = list(dialogue)
    seen = 0
    deadline = time.monotonic() + DEADLINE
    while time.monotonic() < deadline:
        if left and (at := written.find(left[0][0].encode(), seen)) >= 0:
            text, answer = left.pop(0)
            seen = at + len(text.encode())
            if isinstance(answer, str):
                os.write(screen, answer.encode())
            else:
                answer(process.pid)
        if select.select([screen], [], [], 0.1)[0]:
            try:
                chunk = os.read(screen, 65_536)
            except OSError:  # the other end is closed
                break
            written += chunk
    else:
        process.kill()
    code = process.wait()
    os.close(screen)
    assert not left, f"never saw {left[0][0]!r} in {written.decode(errors='replace')[-3000:]}"
    return Ended(code, written.decode())
