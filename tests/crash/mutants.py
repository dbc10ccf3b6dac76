"""Planted bugs: ``python tests/crash/mutants.py [name …]`` runs the suite against broken copies of the code.

Each of these is a mistake somebody could make in the engine. The suite must not pass any of them; one that survives
shows a promise that nobody checks.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
RUN = Path(__file__).resolve().parent / "run.py"
JOURNAL = "backends/store/postgres/sql/journal.sql"
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
        JOURNAL,
        r"update interlock\.journals set flushed = \$2 where runner_id = \$1 and flushed = \$2 - 1 returning runner_id",
        "select $1::bigint as runner_id where $2::bigint is not null",
        "C5",
    ),
    "the-epoch-stands-still": Mutant(OWNERSHIP, r"epoch = (l\.)?epoch \+ 1", r"epoch = \1epoch", "C5"),
    "parking-forgets-a-signal": Mutant(JOURNAL, r" and l\.inbox_seq = p\.folded", "", "C3"),
    "a-key-may-win-twice": Mutant(
        JOURNAL, r"select \* from starts where entry_of not in", "select * from starts where null in", "B1"
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
        "runtime/runner.py", r"executor\.cancel\(owned\.execution\.execution_id, task_id\)", "pass", "A9"
    ),
    "a-broken-turn-is-kept": Mutant("runtime/runner.py", r"self\.spoil\(execution_id\)", "pass", "A2"),
}


def main(names: list[str]) -> int:
    """Run the named mutants, or all; the number of those that were not caught."""
    left = 0
    for name in names or list(MUTANTS):
        try:
            found = try_out(MUTANTS[name])
            word = "caught" if found else "SURVIVED"
        except OutdatedError as error:
            word, found = "OUTDATED", [str(error)]
        left += word != "caught"
        print(f"{word:9} {name} by {MUTANTS[name].scenario}", flush=True)
        for line in found:
            print(f"            {line[:180]}", flush=True)
    return left


def try_out(mutant: Mutant) -> list[str]:
    """What the suite says against this mutant; nothing if it passes."""
    with tempfile.TemporaryDirectory(prefix="interlock-mutant-") as place:
        source, out = Path(place) / "src", Path(place) / "out"
        shutil.copytree(ROOT / "src" / "interlock", source / "interlock", ignore=shutil.ignore_patterns("__pycache__"))
        target = source / "interlock" / mutant.file
        text = target.read_text()
        broken, count = re.subn(mutant.pattern, mutant.becomes, text)
        if not count:
            raise OutdatedError(f"{mutant.file} has no {mutant.pattern!r} any more; bring the mutant up to date")
        target.write_text(broken)
        done = subprocess.run(
            [sys.executable, str(RUN), "--only", mutant.scenario, "--scale", mutant.scale, "--out", str(out)],
            env={"PATH": os.defpath, "HOME": place, "PYTHONPATH": str(source)},
            capture_output=True,
            text=True,
            timeout=LONGEST,
            check=False,
        )
    if done.returncode == 0:
        return []
    objections = [line.strip() for line in done.stdout.splitlines() if line.startswith("  NOT ") or "stuck" in line]
    return objections[:4] or done.stdout.splitlines()[-3:] or done.stderr.splitlines()[-3:]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
