"""Planted bugs: ``python tests/crash/mutants.py [--list] [name …]`` runs the suite against broken copies of the code.

Each of these is a mistake somebody could make in the engine. The suite must not pass any of them; one that survives
shows a promise that nobody checks.

How to run it
    ``.venv/bin/python tests/crash/mutants.py --list`` names them, with the scenario that must object to each.
    ``.venv/bin/python tests/crash/mutants.py an-approval-may-be-decided-twice`` tries one; without a name all are
    tried, one after the other: about twelve minutes. Nothing may compete for the machine, or a pause of the machine
    may be taken for the bug.

What it touches
    ``src/interlock`` is copied to a folder of its own below the system's temporary folder, the bug is planted there,
    and servers and judge import that copy. Verdicts and logs go there, too, and the folder is removed at the end.
    The working tree is only read; but leave ``tests/crash`` alone while it runs, since the suite itself is not copied.

How to read it
    ``caught``: a promise was seen broken; which one comes below. ``SURVIVED``: the scenario passed; sharpen it, or the
    judge, until it does not. ``UNCLEAR``: no server started, or the faults did not hit; look below and try again.
    ``OUTDATED``: the code has changed and the pattern no longer fits; ``test_harness.py`` says so in the ordinary
    tests. The exit code is the number of mutants that were not caught.

A new one is an entry in ``MUTANTS``: a pattern that fits exactly the right place, what it becomes, and the scenario
at the smallest scale that must object. Plant what a reasonable person might write, not what would break everything.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
RUN = Path(__file__).resolve().parent / "run.py"
FLUSH = "backends/store/postgres/sql/flush.sql"
OWNERSHIP = "backends/store/postgres/sql/ownership.sql"
INBOX = "backends/store/postgres/sql/inbox.sql"
LONGEST = 400


@dataclass(frozen=True)
class Mutant:
    """A pattern in a file, what each match becomes, and the scenario that must object."""

    file: str
    pattern: str
    becomes: str
    scenario: str
    scale: str = "make"


class OutdatedError(Exception):
    """The code has changed so that a mutant can no longer be made."""


MUTANTS = {
    "a-zombie-may-write": Mutant(
        FLUSH,
        r"update interlock\.journals set flushed = :number .* returning runner_id",
        "select :runner_id::bigint as runner_id where :number::bigint is not null",
        "C5",
    ),
    "the-epoch-stands-still": Mutant(OWNERSHIP, r"epoch = (l\.)?epoch \+ 1", r"epoch = \1epoch", "C5"),
    "parking-forgets-a-signal": Mutant(FLUSH, r" and l\.inbox_seq = p\.folded", "", "C3"),
    "a-key-may-win-twice": Mutant(
        FLUSH, r"select \* from starts where entry_of not in", "select * from starts where null in", "B1"
    ),
    "an-approval-may-be-decided-twice": Mutant(
        INBOX, r"(where a\.approval_id = \$1 and a\.tenant_id = \$2) and a\.status = 'pending'", r"\1", "C6", "short"
    ),
    "each-attempt-has-its-own-key": Mutant(
        "core/effects.py",
        r'f"\{execution_id\}/\{task_id\}"',
        'f"{execution_id}/{task_id}/{id(task_id)}"',
        "A6",
        "short",
    ),
    "lost-attempts-stay-lost": Mutant(
        "runtime/runner.py", r"self\.apply\(owned, AttemptLost\(.*\)\)", "pass", "A6", "short"
    ),
    "a-cancelled-call-goes-on": Mutant(
        "runtime/attempts.py", r"executor\.cancel\(owned\.execution\.execution_id, task_id\)", "pass", "A9"
    ),
    "children-that-end-together-are-one": Mutant(
        "runtime/batch.py", r"targets & \(told \| changing\)", "targets & changing", "A1", "short"
    ),
    "a-notice-wakes-nobody": Mutant(
        FLUSH,
        r"(set inbox_seq = l\.inbox_seq \+ 1), wake_at = interlock\.now\(\)\n  from notices",
        r"\1\n  from notices",
        "A1",
        "short",
    ),
    "a-broken-turn-is-kept": Mutant("runtime/runner.py", r"self\.spoil\(execution_id\)", "pass", "A2"),
}


def main(names: list[str]) -> int:
    """Run the named mutants, or all; the number of those that were not caught."""
    if names == ["--list"]:
        for name, mutant in MUTANTS.items():
            print(f"{name:40} {mutant.scenario} {mutant.scale}")
        return 0
    unknown = [name for name in names if name not in MUTANTS]
    if unknown:
        print(f"There is no mutant {', '.join(unknown)}; --list names them.")
        return len(unknown)
    left = 0
    for name in names or list(MUTANTS):
        try:
            word, found = try_out(MUTANTS[name])
        except OutdatedError as error:
            word, found = "OUTDATED", [str(error)]
        left += word != "caught"
        print(f"{word:9} {name} by {MUTANTS[name].scenario}", flush=True)
        for line in found:
            print(f"            {line[:180]}", flush=True)
    return left


def try_out(mutant: Mutant) -> tuple[str, list[str]]:
    """What the suite makes of this mutant, in a word, and what it said."""
    with tempfile.TemporaryDirectory(prefix="interlock-mutant-") as place:
        source, out = Path(place) / "src", Path(place) / "out"
        shutil.copytree(ROOT / "src" / "interlock", source / "interlock", ignore=shutil.ignore_patterns("__pycache__"))
        plant(mutant, source / "interlock" / mutant.file)
        done = subprocess.run(
            [sys.executable, str(RUN), "--only", mutant.scenario, "--scale", mutant.scale, "--out", str(out)],
            env={"PATH": os.defpath, "HOME": place, "PYTHONPATH": str(source)},
            capture_output=True,
            text=True,
            timeout=LONGEST,
            check=False,
        )
        verdict = out / f"{mutant.scenario}.json"
        if not verdict.exists():
            return "UNCLEAR", done.stderr.splitlines()[-3:]
        return judge(json.loads(verdict.read_bytes()))


def plant(mutant: Mutant, target: Path) -> None:
    """Put the bug into a copy. Raises OutdatedError."""
    broken, count = re.subn(mutant.pattern, mutant.becomes, target.read_text())
    if not count:
        raise OutdatedError(f"{mutant.file} has no {mutant.pattern!r} any more; bring the mutant up to date")
    target.write_text(broken)


def judge(verdict: dict[str, Any]) -> tuple[str, list[str]]:
    """Whether a verdict is an objection: a promise was broken. A server that cannot even start proves nothing."""
    if verdict["verdict"] == "PASS":
        return "SURVIVED", []
    error = str(verdict["error"])
    broken = [f"NOT {check['name']}: {check['seen']}" for check in verdict["checks"] if not check["is_ok"]]
    said = [*broken, *error.splitlines()][:4] or ["nothing was proven"]
    is_sick = error.startswith("ProcessError") or verdict["verdict"] != "FAIL"
    return ("UNCLEAR" if is_sick and not broken else "caught"), said


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
