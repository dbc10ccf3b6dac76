"""What a server says once it is ready: where it is, a token, and commands that work as they stand."""

from __future__ import annotations

import json
import shlex
import shutil
import sys
from pathlib import Path

from interlock.config import Settings, default_data_dir, default_url
from interlock.kit.hosts import is_everywhere

ANNOUNCED = '{"ready": '
"""How the JSON object begins; no log line does."""
EXAMPLE = Path("examples/features/parallel.yaml")
EXAMPLE_INPUT = '{"people": 2, "nights": 3}'


def announce(url: str, token: str, settings: Settings, *, as_json: bool, processes: int = 1) -> None:
    """Write it to stdout, as one JSON object or for a person."""
    told = json.dumps({"ready": url, "token": token, "processes": processes})
    text = told if as_json else "\n".join(_lines(url, token, settings, processes))
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def _lines(url: str, token: str, settings: Settings, processes: int) -> list[str]:
    command = program()
    run = f"run {EXAMPLE} --input '{EXAMPLE_INPUT}' --watch" if EXAMPLE.exists() else "run FILE --watch"
    return [
        f"ready {url}",
        f"token {token}",
        *([f"{processes} processes serve there."] if processes > 1 else []),
        *(["It listens on every address of this machine."] if is_everywhere(settings.host) else []),
        "",
        "Try in another terminal:",
        *(f"  export {told}" for told in exports(url, settings.data_dir)),
        *(f"  {command} {rest}" for rest in (run, "list", "doctor")),
        "",
        f"Interactive documentation: {url}/docs",
    ]


def exports(url: str, data_dir: Path) -> list[str]:
    """What a client needs in its environment to find the server and the key in its data directory, as a shell reads it.

    Nothing for a server that is where clients look without being told.
    """
    told = []
    if url != default_url():
        told.append(f"INTERLOCK_URL={shlex.quote(url)}")
    if data_dir.resolve() != default_data_dir().resolve():
        told.append(f"INTERLOCK_DATA_DIR={shlex.quote(str(data_dir.resolve()))}")
    return told


def program() -> str:
    """How this program is called from a shell: its plain name where that finds it."""
    here = Path(sys.argv[0])
    if here.name != "interlock":
        return f"{shlex.quote(sys.executable)} -m interlock"
    found = shutil.which("interlock")
    is_on_path = found is not None and here.exists() and Path(found).samefile(here)
    return "interlock" if is_on_path else shlex.quote(str(here))
