"""A definition in a file and a workflow on a server: one name is one workflow, and a changed file is a new version."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from interlock.core.errors import ErrorKind, InterlockError
from interlock.doors.cli.late import late
from interlock.doors.cli.server import Server, segment

if TYPE_CHECKING:
    from interlock.core import definition
else:
    definition = late("interlock.core.definition")

_PARTS = (
    "kind",
    "nodes",
    "connections",
    "settings",
    "triggers",
    "states",
    "initial_state",
    "state_node_map",
    "state_params",
    "user_input_states",
    "terminal_states",
    "retry",
    "timeouts",
    "timers",
    "transitions",
)


async def store_workflow(server: Server, source: Mapping[str, Any]) -> dict[str, Any]:
    """The workflow object of ``source``: the stored one of that name if it says the same, else a new version of it.

    Without a workflow of that name that the caller may change, a new one. Raises ``WORKFLOW_INVALID``.
    """
    existing = await _find(server, str(source["name"]))
    if existing is None:
        return await server.post("/workflows", dict(source))
    if existing.get("digest") == _digest(source):
        return existing
    # What an update leaves out stays as it was; this file is the whole definition.
    body = {**dict.fromkeys(_PARTS), **source, "expected_version": existing["version"]}
    try:
        return await server.put(f"/workflows/{segment(str(existing['workflow_id']))}", body)
    except InterlockError as error:
        if error.kind not in (ErrorKind.DENIED, ErrorKind.NOT_FOUND):
            raise
        return await server.post("/workflows", dict(source))


async def workflow_id_of(server: Server, wanted: str) -> str:
    """The id of the workflow that is called so, else ``wanted`` itself, which is taken for an id."""
    return await _named(server, wanted) or wanted


async def _find(server: Server, name: str) -> dict[str, Any] | None:
    workflow_id = await _named(server, name)
    return None if workflow_id is None else await server.get(f"/workflows/{segment(workflow_id)}")


async def _named(server: Server, name: str) -> str | None:
    found = await server.get("/workflows", search=name, limit=100)
    ids = [str(summary["workflow_id"]) for summary in found.get("workflows") or [] if summary.get("name") == name]
    return ids[0] if ids else None


def _digest(source: Mapping[str, Any]) -> str | None:
    """The digest the server gives this definition; None if it is written in words that only the server knows."""
    found, _ = definition.read_definition({key: source[key] for key in _PARTS if source.get(key) is not None})
    return definition.digest(found) if found is not None else None
