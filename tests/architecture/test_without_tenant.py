"""What may act without a caller's claims is a short list, and so is what may say who a caller is."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from interlock.backends.store.postgres.claims import claims_of
from interlock.core.errors import InterlockError
from interlock.core.principal import Principal

SOURCE = Path(__file__).parents[2] / "src" / "interlock"
SQL = SOURCE / "backends" / "store" / "postgres" / "sql"
POWERFUL = ("interlock_engine", "interlock_access", "the owner")
ROLES = re.compile(r"authenticated|interlock_engine|interlock_access|the owner|login role")
POWERS = {"EnginePool", "connect_as_engine"}

STORE = "backends/store/postgres"
WITHOUT_CLAIMS = {
    "bootstrap/webhooks.py": "hands the engine's connections to what sends messages",
    f"{STORE}/access.py": "looks credentials up before anybody is a caller",
    f"{STORE}/answers.py": "answers kept for idempotency keys, each asked for with its tenant",
    f"{STORE}/budgets.py": "books what models cost",
    f"{STORE}/code_shelf.py": "keeps users' code, each piece asked for with its tenant",
    f"{STORE}/connection.py": "is where connections of the engine are made",
    f"{STORE}/flush.py": "writes what executions did",
    f"{STORE}/ledger.py": "is the engine's side of the database",
    f"{STORE}/lease.py": "says who owns executions",
    f"{STORE}/load_logs.py": "reads logs back for the engine",
    f"{STORE}/migrate.py": "makes the schema, as its owner",
    f"{STORE}/references.py": "knows what refers to blobs and code, and removes what nothing refers to",
    f"{STORE}/seats.py": "counts open streams of all processes",
    f"{STORE}/signals.py": "puts signals into inboxes",
    f"{STORE}/task_log.py": "writes what users' code prints, with the tenant and the reach of its execution",
    f"{STORE}/tenants.py": "is for who looks after the installation",
    f"{STORE}/totals.py": "counts for the metrics of the deployment",
    f"{STORE}/users.py": "checks passwords before anybody is a caller",
    f"{STORE}/webhook_ledger.py": "sends messages and takes callbacks",
    f"{STORE}/webhook_secrets.py": "seals and opens signing secrets",
    f"{STORE}/workers.py": "keeps the machines of the installation; who may ask is decided before",
    f"{STORE}/webhooks.py": "shows subscriptions: as their callers, with statements of the file it shares",
}
"""Files that use a role without row-level security of callers, or statements for one, and why they may."""

SAYS_WHO = {
    "backends/identity/by_issuer.py",
    "backends/identity/issuer.py",
    "backends/identity/issued.py",
    "backends/identity/local.py",
    "backends/identity/claims.py",
    "backends/identity/directory.py",
    "core/api_key.py",
    "doors/http/identity/people.py",
    "doors/http/plumbing/authorise.py",
    "doors/http/plumbing/operation.py",
    "services/access/tenants.py",
    "services/models/for_tasks.py",
    "bootstrap/checks.py",
}
"""Files that may make a principal. Everybody else is handed one."""


def files() -> list[Path]:
    return sorted(path for path in SOURCE.rglob("*.py") if "nodes" not in path.parts)


def role_lines(path: Path) -> str:
    return "\n".join(path.read_text().splitlines()[:6])


def test_every_file_of_statements_says_as_whom_they_run() -> None:
    assert [path.name for path in SQL.glob("*.sql") if not ROLES.search(role_lines(path))] == []


def test_only_the_listed_files_act_without_a_callers_claims() -> None:
    """G11."""
    powerful = {path.stem for path in SQL.glob("*.sql") if any(role in role_lines(path) for role in POWERFUL)}
    found = set()
    for path in files():
        tree = ast.parse(path.read_text())
        names = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
        if names & POWERS or powerful & loaded(tree):
            found.add(str(path.relative_to(SOURCE)))
    assert found == WITHOUT_CLAIMS.keys()


def loaded(tree: ast.AST) -> set[str]:
    """The files of statements that a module reads."""
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "load"]
    return {argument.value for call in calls for argument in call.args if isinstance(argument, ast.Constant)}


def test_only_the_listed_files_say_who_somebody_is() -> None:
    """G11: there is no caller that nobody proved, and none to fall back to."""
    found = set()
    for path in files():
        calls = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)]
        if any(getattr(call.func, "id", "") == "Principal" for call in calls):
            found.add(str(path.relative_to(SOURCE)))
    assert found <= SAYS_WHO, found - SAYS_WHO


@pytest.mark.parametrize(("subject", "tenant"), [("", "t"), ("s", ""), ("", ""), ("s\0", "t"), ("s", "t\ud800")])
def test_a_question_for_nobody_is_not_asked(subject: str, tenant: str) -> None:
    with pytest.raises(InterlockError):
        claims_of(Principal(subject=subject, tenant_id=tenant, scopes=frozenset({"admin"})))


STATEMENT_CALLS = {"fetch", "fetchrow", "fetchval", "execute", "executemany", "rows", "row", "value", "run", "prepare"}


def test_no_statement_is_put_together_from_what_comes_in() -> None:
    """F6: a statement holds names of constants at most; every value is a parameter."""
    loose = []
    for path in files():
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and getattr(node.func, "attr", "") in STATEMENT_CALLS and node.args:
                loose += [f"{path.relative_to(SOURCE)}:{node.lineno}" for part in parts(node.args[0]) if is_loose(part)]
    assert loose == []


def parts(argument: ast.expr) -> list[ast.expr]:
    """What a text is put together from; nothing for one that is not."""
    if isinstance(argument, ast.JoinedStr):
        return [part.value for part in argument.values if isinstance(part, ast.FormattedValue)]
    if isinstance(argument, ast.BinOp) and isinstance(argument.op, ast.Mod | ast.Add):
        return [argument.right]
    return []


def is_loose(part: ast.expr) -> bool:
    """Whether a part is anything but a constant of its module, or the one text that depends on Postgres' version."""
    if isinstance(part, ast.Call) and getattr(part.func, "id", "") == "_administration":
        return False
    return not (isinstance(part, ast.Name) and part.id.strip("_").isupper()) and not isinstance(part, ast.Constant)
