"""What the command line says of itself: help with examples, a reference that is true, and an answer at once."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from interlock.bootstrap.main import Programs
from interlock.doors.cli.app import build

REFERENCE = Path(__file__).parents[3] / "docs" / "reference" / "cli.md"
SERVING = {"up", "serve", "start", "stop", "worker join", "demo", "migrate", "doctor", "health"}
LOOKING = {"run", "validate", "list", "show", "watch", "artifacts"}
FLOWS = {f"flows {name}" for name in ("register", "list", "show", "graph")}
FLOWS |= {f"nodes {name}" for name in ("register", "list", "delete")}
FLOWS |= {f"sessions {name}" for name in ("start", "event", "state", "blackboard", "stop")}
STEERING = {"approvals", "approve", "deny", "signal", "cancel", "pause", "resume"}
STEERING |= {"workers list", "workers show", "workers drain"}
WEBHOOKS = {f"webhooks {name}" for name in ("create", "list", "deliveries", "redeliver", "delete")}
WEBHOOKS |= {f"webhooks {name}" for name in ("show", "enable", "disable", "rotate-secret")}
USERS = {f"users {name}" for name in ("create", "list", "confirm", "role", "password", "disable", "enable")}
ACCESS = {*(f"keys {name}" for name in ("create", "list", "rotate", "revoke")), "audit"}
ACCESS |= {"secrets list", "secrets rotate"}
ACCESS |= {f"tenants {name}" for name in ("list", "show", "create", "disable", "enable")}
ACCESS |= {"models list", "models price", *(f"budgets {name}" for name in ("list", "set", "remove"))}
OWN = {"token", "version", "completion show", "completion install"}


def commands(group: Any, before: str = "") -> Iterator[tuple[str, Any]]:
    """Every command with its full name."""
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from commands(command, f"{before}{name} ")
        else:
            yield before + name, command


COMMANDS = dict(commands(typer.main.get_command(build(Programs()))))


def options_of(command: Any) -> set[str]:
    """The long options of a command but ``--help``."""
    found = {option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)}
    return {option for option in found if option.startswith("--")}


def sections() -> dict[str, str]:
    """The reference's text below the heading of each command."""
    parts = re.split(r"^### `interlock (.+)`$", REFERENCE.read_text(encoding="utf-8"), flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def test_every_command_that_was_promised_is_there() -> None:
    assert set(COMMANDS) == SERVING | LOOKING | FLOWS | STEERING | WEBHOOKS | USERS | ACCESS | OWN


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_every_command_has_help_with_examples_and_json(name: str) -> None:
    result = CliRunner().invoke(build(Programs()), [*name.split(), "--help"])
    assert result.exit_code == 0
    assert f"Examples:\n    interlock {name}" in result.stdout
    assert "--json" in result.stdout
    assert all(len(line) <= 80 for line in result.stdout.splitlines() if not line.startswith("    interlock"))


def test_no_command_takes_a_secret() -> None:
    names = {option for command in COMMANDS.values() for option in options_of(command)}
    assert not {name for name in names if re.search("token|secret|password|key", name) and name != "--signal-id"}


def test_the_help_shows_every_command_in_its_group_with_a_whole_sentence() -> None:
    text = CliRunner().invoke(build(Programs()), ["--help"]).stdout
    for group in ("Run a server:", "Start and look:", "Steer and decide:", "This program:"):
        assert group in text
    listed = [line for line in text.splitlines() if re.match(r"  [a-z]+ {2,}", line)]
    assert len(listed) == len({name.split()[0] for name in COMMANDS})
    assert all(line.endswith(".") and not line.endswith("...") for line in listed)


def test_the_reference_describes_exactly_the_commands_there_are() -> None:
    assert set(sections()) == set(COMMANDS)


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_the_reference_has_exactly_the_options_of_a_command(name: str) -> None:
    rows = [line for line in sections()[name].splitlines() if line.startswith("| `")]
    documented = {option for row in rows for option in re.findall(r"`(--[a-z-]+)`", row.split("|")[1])}
    assert documented == options_of(COMMANDS[name])


def test_help_loads_nothing_that_takes_long() -> None:
    program = """
import sys
from interlock.doors.cli.app import build
build(None)
late = ("httpx2", "interlock.kit.strict_yaml", "interlock.core.definition")
print([name for name in late if type(sys.modules[name]).__name__ != "_LazyModule"])
print([name for name in ("httpcore2", "yaml", "rich.markdown", "interlock.bootstrap") if name in sys.modules])
"""
    answer = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert answer.stdout.split("\n") == ["[]", "[]", ""]


def test_a_late_module_is_the_real_one_once_it_is_used() -> None:
    program = """
from interlock.doors.cli.inputs import strict_yaml
from interlock.doors.cli.server import httpx2
import interlock.kit.strict_yaml, httpx2 as same
print(strict_yaml.load("a: 1"), strict_yaml is interlock.kit.strict_yaml, httpx2 is same, httpx2.URL("http://x").host)
"""
    answer = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert answer.stdout == "{'a': 1} True True x\n"


@pytest.mark.parametrize("form", [[], ["--json"]])
def test_a_reader_that_goes_away_ends_the_command_in_peace(form: list[str]) -> None:
    command = [sys.executable, "-m", "interlock", "version", *form]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        process.stdout.close()
        assert process.stderr is not None
        assert (process.stderr.read(), process.wait(30)) == ("", 0)


TAB = """
source <(interlock completion show bash)
complete -p interlock
tab() { COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _interlock_completion interlock; echo "offered ${COMPREPLY[*]}"; }
tab interlock sh
tab interlock approv
tab interlock list --st
tab interlock migrate ''
tab interlock completion sh
tab interlock start --sandbox ''
tab interlock up --metrics-exporter otlp
tab interlock zz
"""
"""What a bash does when Tab is pressed behind each of these lines."""


def test_a_real_bash_completes_commands_options_and_values() -> None:
    environment = {"PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin", "HOME": "/nowhere"}
    shell = ["bash", "--norc", "-i"]
    answer = subprocess.run(
        shell,
        input=TAB,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env=environment,
        start_new_session=True,
    )
    said = [line for line in answer.stdout.splitlines() if line.startswith(("complete", "offered"))]
    assert said == [
        "complete -o default -F _interlock_completion interlock",
        "offered show",
        "offered approvals approve",
        "offered --status",
        "offered up status",
        "offered show",
        "offered bwrap subprocess none",
        "offered otlp otlp_http",
        "offered ",
    ]


def test_the_shell_is_offered_commands_and_options() -> None:
    settings = {"_INTERLOCK_COMPLETE": "complete_bash", "COMP_WORDS": "interlock app", "COMP_CWORD": "1"}
    answer = CliRunner().invoke(build(Programs()), [], env=settings, prog_name="interlock")
    assert answer.stdout.split() == ["approvals", "approve"]
