"""What a server says once it is ready: where it is, in local mode a token, and commands that work as they stand."""

from __future__ import annotations

import json
import shlex
import shutil
import sys
from pathlib import Path
from urllib.parse import urlsplit

from interlock.backends.telemetry.lines import json_line
from interlock.bootstrap.checks import takes_local_tokens
from interlock.bootstrap.ray_head import has_own_head, own_address, token_file
from interlock.config import Settings, default_data_dir, default_url, driver_environment
from interlock.kit.clock import SystemClock
from interlock.kit.hosts import in_url, is_everywhere, is_loopback
from interlock.kit.instants import rfc3339

ANNOUNCED = '{"ready": '
"""How the JSON object begins; no log line does."""
EXAMPLE = Path("examples/features/parallel.yaml")
EXAMPLE_INPUT = '{"people": 2, "nights": 3}'


def announce(url: str, token: str, settings: Settings, *, as_json: bool, processes: int = 1) -> None:
    """Write it to stdout: as one JSON object for a program, as a line of the log where that is JSON, or for a person.

    Without a ``token`` none is shown; in a log there never is one.
    """
    sys.stdout.write(_text(url, token, settings, processes, as_json=as_json) + "\n")
    sys.stdout.flush()


def _text(url: str, token: str, settings: Settings, processes: int, *, as_json: bool) -> str:
    if as_json:
        shown = {"token": token} if token else {}
        return json.dumps({"ready": url, **shown, "processes": processes})
    if settings.log_format == "json":
        now = rfc3339(SystemClock().now())
        about = {"timestamp": now, "level": "info", "event": "server.ready", "logger": "bootstrap"}
        return json_line({**about, "url": url, "processes": processes})
    return "\n".join(_lines(url, token, settings, processes))


def _lines(url: str, token: str, settings: Settings, processes: int) -> list[str]:
    command = program()
    run = f"run {EXAMPLE} --input '{EXAMPLE_INPUT}' --watch" if EXAMPLE.exists() else "run FILE --watch"
    return [
        f"ready {url}",
        *([f"token {token}"] if token else []),
        *([f"{processes} processes serve there."] if processes > 1 else []),
        *(["It listens on every address of this machine."] if is_everywhere(settings.host) else []),
        "",
        "Try in another terminal:" if takes_local_tokens(settings) else "With a token in INTERLOCK_TOKEN, try:",
        *(f"  export {told}" for told in exports(url, settings.data_dir)),
        *(f"  {command} {rest}" for rest in (run, "list", "doctor")),
        *_joining(url, settings),
        "",
        f"Interactive documentation: {url}/docs",
    ]


def _joining(url: str, settings: Settings) -> list[str]:
    """How other machines join, if they can."""
    if not has_own_head(settings):
        return []
    place = url if is_loopback(settings.host) else f"http://{in_url(own_address(settings.host))}:{urlsplit(url).port}"
    return [
        "",
        "Workers join with a copy of the token of Ray:",
        f"  {program()} start --worker --addr {place.removeprefix('http://')} --auth-file FILE",
        f"The token is in {token_file(settings, driver_environment())}",
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
