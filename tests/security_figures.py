"""Runs the tests behind docs/security.md at length and writes what they counted into its table.

    PYTHONPATH=src python tests/security_figures.py [--quick | --from FILE]

Nothing is written unless all of them pass. ``--quick`` counts what the suite does instead; ``--from`` takes what tests
have counted into a file before (``pytest --figures FILE``).
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "security.md"
BEGIN, END = "<!-- figures: made by `make security` -->", "<!-- end of figures -->"

CODE = "tests/e2e/test_code_stays_outside.py"


class Row(NamedTuple):
    """A line of the table: what it is about, the numbers by their names, and the tests that find them."""

    what: str
    told: str
    tests: str


ROWS = (
    Row(
        "Every scope, role and spoilt credential at every guarded route",
        "{matrix_cells} cells ({matrix_routes} routes × {matrix_credentials} credentials), all as the table says",
        "tests/doors/test_access_scopes.py",
    ),
    Row(
        "Spellings of path, host, headers and method without a credential",
        "{prober_probes} requests to {prober_routes} routes, handlers reached {prober_handler_hits}",
        "tests/doors/test_access_prober.py",
    ),
    Row(
        "Another tenant's ids in path, query, body, cursor and headers",
        "{tenant_probes} requests to {tenant_routes} routes with ids, leaks {tenant_leaks}, rows changed 0",
        "tests/access/test_foreign_ids.py",
    ),
    Row(
        "The time of a 404 for another tenant's id and for nobody's",
        "{timing_difference_us} µs between the medians; 80 % of equal questions lie within {timing_spread_us} µs",
        "tests/access/test_foreign_ids.py",
    ),
    Row(
        "Another owner named in a body",
        "{ownership_requests} requests, accepted {ownership_accepted}",
        "tests/access/test_mass_assignment.py",
    ),
    Row(
        "Row-level security, each policy relaxed in each part",
        "{policy_mutants} mutants of {policies} policies, missed {policy_mutants_missed}",
        "tests/conformance/test_row_security.py",
    ),
    Row(
        "Pools of two connections under cancels, time-outs, errors and killed connections",
        "{pool_requests} requests ({pool_broken} broken off), foreign rows {pool_foreign_rows}",
        "tests/conformance/test_pool_isolation.py",
    ),
    Row(
        "Bad JSON at every route with a body",
        "{bad_json_requests} requests, none answered with 500 or more than 0.1 s of CPU",
        "tests/doors/test_http_every_route.py",
    ),
    Row(
        "Hostile text in every place of every operation",
        "{injection_requests} requests with {injection_texts} texts, failures {injection_failures}",
        "tests/access/test_injection.py",
    ),
    Row(
        "Hostile flows",
        "{flow_texts} texts, the slowest {flow_slowest_ms} ms of CPU",
        "tests/doors/test_flow_corpus.py",
    ),
    Row(
        "Addresses inside, in every field that takes one, saved and called",
        "{address_tries} tries with {address_spellings} spellings, connections made 0",
        "tests/doors/test_internal_addresses.py",
    ),
    Row(
        "Secrets and private words in logs, answers, sockets and tables",
        "{canary_secrets} of them, {canary_bytes} bytes searched, hits {canary_hits}",
        "tests/e2e/test_canaries.py",
    ),
    Row(
        "Made-up requests (schemathesis), in the suite",
        "{fuzz_short_cases} cases over {fuzz_short_operations} operations, failures 0",
        "tests/e2e/test_fuzz_short.py",
    ),
    Row(
        "Code, sent by everybody to every call that carries it, where it is switched on and where it is not",
        "{code_cells} cells, all as the table says",
        CODE,
    ),
    Row(
        "Users' code compiled, imported or unpickled in the server, by Python's own audit",
        "{gateway_events} events while code in every form was saved, checked, called and run",
        CODE,
    ),
    Row(
        "Attacks of code in a sandbox on its machine",
        "{sandbox_attacks} tried, {sandbox_escapes} went through",
        "tests/conformance/test_sandbox_walls.py",
    ),
    Row(
        "Stubborn code, from its cancel to the death of its last process",
        "{sandbox_kills} times, 95 % within {sandbox_kill_p95_ms} ms",
        "tests/conformance/test_sandbox_ends.py",
    ),
    Row(
        "The time of a first call of a piece of code behind all walls",
        "{sandbox_start_ratio:.1f} times that of one with limits only, {sandbox_warm_ratio} times that of a later one",
        "tests/conformance/test_sandbox_ends.py",
    ),
    Row(
        "Looks at what another tenant's code has at the same time",
        "{neighbour_looks} ways, hits {neighbour_hits}",
        "tests/conformance/test_sandbox_neighbours.py",
    ),
    Row(
        "What the users that sandboxes have could do to each other and to the server, without any walls",
        "{user_tries} tries, hits {user_hits}",
        "tests/conformance/test_sandbox_users.py",
    ),
    Row(
        "Sandboxes that talk without an end",
        "{flood_kinds} kinds, at most {flood_share} % of one processor of the server",
        "tests/conformance/test_sandbox_bounds.py",
    ),
    Row(
        "Rows changed in the database: values that other readers would run, and rows that nobody can read",
        "{hostile_values} values and {hostile_rows} rows, run {hostile_rows_run}",
        "tests/conformance/test_hostile_rows.py",
    ),
    Row(
        "Escapes from other expression languages",
        "{expression_tries} tried, {expression_escapes} went through, the slowest {expression_slowest_ms:.1f} ms",
        "tests/unit/test_expression_escapes.py",
    ),
    Row(
        "A Ray that the server started: ports tried from another network, wrong tokens, attacks of code on a node",
        "{ray_ports_knocked} ports, {ray_wrong_tokens} tokens and {ray_sandbox_attacks} attacks, none went through",
        "tests/conformance/test_ray_closed.py",
    ),
)


def counted(path: Path) -> dict[str, float]:
    """All numbers by name: the last ones of each test, and what several tests found of one name added up."""
    last = {line["test"]: line["found"] for line in map(json.loads, path.read_text().splitlines())}
    found: dict[str, float] = {}
    for numbers in last.values():
        for name, number in numbers.items():
            found[name] = found.get(name, 0) + number
    return found


class Told(float):
    """A number as the page writes it: whole, unless a row says how."""

    def __format__(self, form: str) -> str:
        return super().__format__(form or ",.0f")


def table(found: dict[str, float]) -> str:
    """The table in Markdown."""
    told = {name: Told(number) for name, number in found.items()}
    lines = [f"| {row.what} | {row.told.format(**told)} | [{Path(row.tests).name}](../{row.tests}) |" for row in ROWS]
    return "\n".join(["| what | figures | test |", "|---|---|---|", *lines])


def main() -> int:
    """Run, and write the page; the exit code of the tests."""
    if "--from" in sys.argv:
        write(Path(sys.argv[sys.argv.index("--from") + 1]))
        return 0
    with tempfile.TemporaryDirectory(prefix="interlock-figures-") as folder:
        figures = Path(folder, "figures.jsonl")
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--figures", str(figures)]
        command += ["-m", "cluster or not cluster"]
        command += [] if "--quick" in sys.argv else ["--at-length"]
        tests = dict.fromkeys(row.tests for row in ROWS)
        code = subprocess.run([*command, *tests], cwd=ROOT, check=False).returncode
        if code == 0:
            write(figures)
    return code


def write(figures: Path) -> None:
    """Put the table into the page."""
    before, _, rest = PAGE.read_text().partition(BEGIN)
    PAGE.write_text(f"{before}{BEGIN}\n\n{table(counted(figures))}\n\n{END}{rest.partition(END)[2]}")


if __name__ == "__main__":
    sys.exit(main())
