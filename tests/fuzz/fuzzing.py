"""One run of schemathesis against a served process, with the credential that each operation wants, and its figures."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fuzz.callers import Callers

PHASES = "examples,coverage,fuzzing,stateful"
DEADLINE = 3 * 3600.0
SLOW_ANSWER = 20.0
STREAM_EVENTS = 3
WITHOUT_SECOND_PREFIX = ("--exclude-path-regex", "^/api/v1/app/")
"""The app door has two prefixes; behind both are the same operations."""
NOBODY = "00000000-0000-7000-8000-000000000000"
"""What streams are asked for: one of something that goes on would not end."""
OWN_IDS = 0.6
"""How often a path has the id of something that is there."""

BEYOND_SCHEMA = (
    "^/api/(v1/)?app/workflows",  # what a definition may be, a schema does not say
    "^/api/(v1/)?app/webhooks",  # nor what an address is, or which events a pattern means
    "^/api/(v1/)?app/api-keys",  # an end in the past; 1.0 is a whole number to a schema
    "^/api/(v1/)?app/approvals/.*/decide$",  # which words are options of the question
    "^/api/registry/",
    "^/api/workflow/",  # a flow or a node; a node's result
    "^/api/llm/|^/v1/",  # which models there are, and what fits them
    "^/(add|save|run)_",  # code of one kind or another, base64, names of kinds and resources, edges
    "^/disconnect_worker",  # the server's own machine is none that could be taken away
    "^/auth/v1/",  # an account needs both address and password
)
"""Operations with rules that no JSON schema says: a request that fits the schema may be refused with 400 or 422."""
REFUSALS = [401, 403, 404, 409, 410, 412, 422, 429, "2xx", "3xx"]
"""Answers to a request that fits its schema: 422 is for a key that another request has used."""


@dataclass(frozen=True)
class Figures:
    """What a run did: ``report`` is schemathesis' own account of it, ``output`` what it said."""

    report: dict[str, Any]
    output: str

    @property
    def operations(self) -> int:
        """How many operations the document has."""
        return int(self.report["operations"]["total"])

    @property
    def tested(self) -> int:
        """How many of them were called."""
        return int(self.report["operations"]["tested"])

    @property
    def cases(self) -> int:
        """How many requests were made up."""
        return int(self.report["test_cases"]["generated"])

    @property
    def failures(self) -> list[dict[str, Any]]:
        """Every kind of failure and error, with the operations that show it."""
        return [*self.report["failures"], *self.report["errors"]]

    def line(self) -> str:
        """The figures in a sentence."""
        seconds = float(self.report["running_time"])
        return (
            f"fuzz: {self.cases} cases over {self.tested} of {self.operations} operations in {seconds:.0f} s, "
            f"seed {self.report['seed']}, kinds of failures {len(self.failures)}"
        )


def configuration(callers: Callers, examples: int, seed: int, workers: int) -> str:
    """The settings of one run as schemathesis reads them."""
    lines = [
        f"seed = {seed}",
        f"workers = {workers}",
        "continue-on-failure = true",
        f"request-timeout = {SLOW_ANSWER}",
        f"max-stream-events = {STREAM_EVENTS}",
        "[checks.positive_data_acceptance]",
        f"expected-statuses = {json.dumps(REFUSALS)}",
        "[auth]",
        "auto-signup = false",  # every caller is there already
        "[generation]",
        f"max-examples = {examples}",
        'database = "none"',
        "allow-x00 = false",  # NUL is refused everywhere, and a schema cannot say so; other tests send it
        "with-security-parameters = false",
    ]
    for name, value in callers.ids.items():
        lines += [f"[dictionaries.{name}]", f"values = {json.dumps([value])}"]
    lines.append("[parameters]")
    for name in callers.ids:
        lines.append(f'"path.{name}" = {{ dictionary = "{name}", probability = {OWN_IDS} }}')
    lines += ["[[operations]]", 'include-path-regex = "/stream$"', "[operations.parameters]"]
    lines += [f'"path.{name}" = "{NOBODY}"' for name in ("workflow_id", "execution_id")]
    # A key may stand in two headers, of which the first decides: a wrong one in the other is not looked at.
    lines += ["[[operations]]", 'include-path-regex = "^/v1/"', "checks.ignored_auth.enabled = false"]
    for pattern in BEYOND_SCHEMA:
        lines += ["[[operations]]", f"include-path-regex = {json.dumps(pattern)}"]
        lines.append(f"checks.positive_data_acceptance.expected-statuses = {json.dumps([400, *REFUSALS])}")
    for pattern, headers in callers.headers.items():
        told = ", ".join(f"{json.dumps(name)} = {json.dumps(value)}" for name, value in headers.items())
        lines += ["[[operations]]", f"include-path-regex = {json.dumps(pattern)}", f"headers = {{ {told} }}"]
    return "\n".join(lines) + "\n"


def fuzz(
    url: str,
    callers: Callers,
    *,
    examples: int,
    seed: int,
    workers: int = 1,
    phases: str = PHASES,
    options: tuple[str, ...] = (),
) -> Figures:
    """Call every operation of the server's own document. Raises RuntimeError if schemathesis itself did not get on."""
    with tempfile.TemporaryDirectory(prefix="interlock-fuzz-") as folder:
        config, report = Path(folder, "schemathesis.toml"), Path(folder, "report.json")
        config.write_text(configuration(callers, examples, seed, workers))
        command = [sys.executable, "-m", "schemathesis.cli", "--config-file", str(config), "--no-color", "run"]
        command += [f"{url}/openapi.json", "--phases", phases, "--report-json-path", str(report), *options]
        told = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=DEADLINE, check=False)
        output = told.stdout + told.stderr
        if not report.exists():
            raise RuntimeError(output[-4000:])
        return Figures(json.loads(report.read_text()), output)
