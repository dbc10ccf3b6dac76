"""Installs the peers once, each in its own environment, in $INTERLOCK_BENCH_HOME (default ~/.cache/interlock-bench).

usage: python -m benchmarks.peers.install. What is there already in the pinned version is left alone.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

PINS: dict[str, tuple[str, ...]] = {
    "dbos": ("dbos==3.4.0",),
    "restate": ("restate-sdk==1.3.0", "hypercorn==0.18.0"),
}
LITELLM = ("litellm[proxy]==1.106.2",)
"""The peer of the model gateway; it is never installed where Interlock runs."""
CELERY = ("celery[redis]==5.7.0",)
"""The peer of small tasks; in an environment of its own."""
RESTATE_SERVER = ("@restatedev/restate-server", "1.7.12")


class PeerMissing(Exception):
    """A peer could not be installed."""


def home() -> Path:
    """The folder that holds the peers' environments; nothing there belongs to the project."""
    return Path(os.environ.get("INTERLOCK_BENCH_HOME") or Path.home() / ".cache" / "interlock-bench")


def python_of(peer: str) -> Path:
    """The interpreter of a peer's environment."""
    return home() / "venv" / peer / "bin" / "python"


def restate_server() -> Path:
    """The program of the Restate server."""
    return home() / "npm" / "node_modules" / ".bin" / "restate-server"


def install_peers() -> None:
    """Install what is missing. PeerMissing, with the client's own words, if a registry or a tool fails."""
    for peer, pins in PINS.items():
        _install_environment(peer, pins)
    _install_restate_server()


def install_litellm() -> Path:
    """Install LiteLLM if it is missing; its interpreter. PeerMissing if it cannot be had."""
    _install_environment("litellm", LITELLM)
    return python_of("litellm")


def install_celery() -> Path:
    """Install Celery if it is missing; its interpreter. PeerMissing if it cannot be had."""
    _install_environment("celery", CELERY)
    return python_of("celery")


def _install_environment(peer: str, pins: tuple[str, ...]) -> None:
    python, marker = python_of(peer), home() / "venv" / peer / "pins.txt"
    if marker.exists() and marker.read_text() == "\n".join(pins):
        return
    print(f"installing {' '.join(pins)}", flush=True)
    _run([sys.executable, "-m", "venv", "--clear", str(python.parent.parent)])
    _run([str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *pins])
    marker.write_text("\n".join(pins))


def _install_restate_server() -> None:
    name, version = RESTATE_SERVER
    folder = home() / "npm"
    manifest = folder / "node_modules" / name / "package.json"
    if manifest.exists() and json.loads(manifest.read_text())["version"] == version and restate_server().exists():
        return
    print(f"installing {name}@{version}", flush=True)
    folder.mkdir(parents=True, exist_ok=True)
    _run(["npm", "install", "--silent", "--no-audit", "--no-fund", "--prefix", str(folder), f"{name}@{version}"])


def _run(command: list[str]) -> None:
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise PeerMissing(f"{command[0]}: {error}") from error
    if done.returncode != 0:
        raise PeerMissing(f"{' '.join(command[:4])} ... failed: {(done.stderr or done.stdout).strip()[-1500:]}")


if __name__ == "__main__":
    install_peers()
