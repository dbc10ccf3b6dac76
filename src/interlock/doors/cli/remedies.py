"""What somebody can do about an error: by its code, and by its kind where a server said it."""

from __future__ import annotations

from interlock.core.errors import ErrorKind, InterlockError

_OF_ANSWERS: dict[str, str] = {
    "WORKFLOW_INVALID": "Mend the definition; `interlock validate FILE` shows every problem.",
    "INVALID_TRANSITION": "See which events it waits for with `interlock show ID`.",
    "FLOW_NOT_FOUND": "See the flows with `interlock flows list`.",
    "NODE_NOT_FOUND": "See the nodes with `interlock nodes list`.",
    "SESSION_NOT_FOUND": "See the sessions among the executions with `interlock list`.",
    "HOLDER_NOT_FOUND": "See the keys with `interlock keys list`, the accounts with `interlock users list`.",
    "BUDGET_NOT_FOUND": "See the budgets with `interlock budgets list`.",
    "FLOW_VALIDATION_ERROR": "Mend the file; `interlock validate FILE` shows where each problem is.",
    "MISDIRECTED_REQUEST": (
        "Use the name the server is known by, or start the server with this one in INTERLOCK_TRUSTED_HOSTS."
    ),
    "REMOTE_DENIED": "Ask from the server's own machine, or start the server with --local-allow-remote.",
}
"""Of what a server answers."""

_OF_KINDS: dict[ErrorKind, str] = {
    ErrorKind.INVALID: "See what the command takes with --help.",
    ErrorKind.RULE: "See what the command takes with --help.",
    ErrorKind.UNAUTHENTICATED: (
        "Put a valid token into INTERLOCK_TOKEN; on the server's own machine `interlock token --data DIR` makes one "
        "with the key in its data directory."
    ),
    ErrorKind.DENIED: "Ask an operator for the missing permission, or use another token in INTERLOCK_TOKEN.",
    ErrorKind.NOT_FOUND: "See what there is with `interlock list` and `interlock approvals`.",
    ErrorKind.GONE: "See what became of it with `interlock show ID`.",
    ErrorKind.CONFLICT: "See where it stands with `interlock show ID`.",
    ErrorKind.TOO_LARGE: "Send less: bodies of more than 1 MiB are refused.",
    ErrorKind.UNAVAILABLE: "Try again in a moment; `interlock health --ready` says what the server waits for.",
    ErrorKind.TIMEOUT: "Try again in a moment; `interlock health --ready` says what the server waits for.",
    ErrorKind.EXTERNAL: "Try again in a moment; `interlock health --ready` says what the server waits for.",
    ErrorKind.INTERNAL: "Look for the trace id in the server's log.",
}
"""Of what a server answers with no code that is known here."""

_OF_NOUNS: dict[str, str] = {
    "api-keys": "See the keys with `interlock keys list`; `--tenant` names another tenant's.",
    "users": "See the accounts with `interlock users list`; with `--tenant` only those of that one are reached.",
    "disconnect_worker": "See the ids with `interlock workers list`.",
    "webhooks": "See the webhooks with `interlock webhooks list`.",
    "registry": "See the nodes with `interlock nodes list`, the flows with `interlock flows list`.",
    "tenants": "See the tenants with `interlock tenants list`; `interlock tenants create` makes one.",
}
"""Of what was not found, or is taken, by where it was asked for."""

_SHUT_OUT = (
    "A disabled tenant is let in again with `interlock tenants enable NAME`; in place of a key that is over make a new "
    "one with `interlock keys create`."
)

_OTHER_SCHEMA = (
    "An older, newer or changed Interlock made this schema: use that same version, or for development a fresh "
    "directory (--data DIR) or an empty database."
)
_OTHER_DIRECTORY = "Choose another directory with --data or INTERLOCK_DATA_DIR."

_OF_STARTS: dict[str, str] = {
    "MIGRATION_CHANGED": _OTHER_SCHEMA,
    "DATABASE_NEWER": _OTHER_SCHEMA,
    "MIGRATION_DENIED": "Set INTERLOCK_MIGRATE_DATABASE_URL to a login that owns the database.",
    "MIGRATION_FAILED": "Nothing was changed; the version before this one still serves this database.",
    "DATABASE_UNFIT": "Mend that, then look again with `interlock doctor`.",
    "SERVER_ROLE_UNFIT": "Put a role that logs in and owns nothing into INTERLOCK_DATABASE_URL.",
    "DATABASE_URL_INVALID": "Write INTERLOCK_DATABASE_URL like postgresql://USER:PASSWORD@HOST/DATABASE.",
    "SERVICE_UNAVAILABLE": "Look whether the database runs and its address is right; `interlock doctor` looks, too.",
    "DATABASE_TIMEOUT": "Look what keeps the database busy, then start again.",
    "AUTHORIZATION_FAILED": "Look which rights the login of INTERLOCK_DATABASE_URL has; `interlock doctor` looks, too.",
    "DATA_DIRECTORY_IN_USE": "Use the server that runs there, stop it, or choose another directory with --data.",
    "DATA_DIRECTORY_UNUSABLE": _OTHER_DIRECTORY,
    "SIGNING_KEYS_UNUSABLE": (
        "Mend that file; or remove it, and the next start makes a new key and all tokens of before end."
    ),
    "EMBEDDED_POSTGRES_MISSING": (
        "Do one of these (the settings are INTERLOCK_PG_BINDIR and INTERLOCK_DATABASE_URL), then look again with "
        "`interlock doctor`."
    ),
    "EMBEDDED_POSTGRES_FAILED": "Mend what it complains of, or start with a fresh directory (--data DIR).",
    "EMBEDDED_POSTGRES_SLOW": "Give it a moment, then start again.",
    "EMBEDDED_POSTGRES_FOREIGN": _OTHER_DIRECTORY,
    "EMBEDDED_POSTGRES_ROOT": "Do one of these, then look again with `interlock doctor`.",
    "EMBEDDED_PASSWORDS_LOST": _OTHER_DIRECTORY,
    "EMBEDDED_SOCKET_UNUSABLE": "Set TMPDIR to a short path, or choose a short one with --data.",
}
"""Of what keeps a server on this machine from starting. Their kinds say nothing here: no server was asked."""


def next_step(error: InterlockError) -> str:
    """What its reader can do about an error; empty if nothing sensible can be said."""
    own = error.details.get("next")
    if own:
        return str(own)
    if "status" not in error.details:
        return _OF_STARTS.get(error.code) or _OF_ANSWERS.get(error.code, "")
    if error.retry_after is not None:
        return f"Try again in {error.retry_after:.0f} s."
    if error.details.get("reason") == "client_disabled":
        return _SHUT_OUT
    is_about_one = error.kind in (ErrorKind.NOT_FOUND, ErrorKind.CONFLICT)
    of_noun = _OF_NOUNS.get(str(error.details.get("noun")), "") if is_about_one else ""
    return _OF_ANSWERS.get(error.code) or of_noun or _OF_KINDS.get(error.kind, "")
