"""After all that the neighbour did not find: it was there, and only the tenant hid it. This ends what there is."""

from __future__ import annotations

from typing import Any

from access.route_probes import in_paths
from access.transcript import Transcript
from interlock.doors.http.plumbing.operation import Policy


async def test_the_owner_has_all_that_the_neighbour_did_not_find(tenants: Any) -> None:
    """The same requests as their owner: so it was the tenant that hid them, nothing else. Runs last: it ends all."""
    order = {"GET": 0, "PUT": 1, "PATCH": 1, "POST": 2, "DELETE": 3}
    transcript = Transcript(tenants.b)
    hidden = []
    ended: set[tuple[str, ...]] = set()
    for probe in sorted(in_paths(tenants.b.ids), key=lambda one: order[one.method]):
        if probe.operation.policy in (Policy.OPEN, Policy.PROOF) or probe.path.startswith("/api/v1/app"):
            continue
        if probe.method == "DELETE" and "holder" in probe.operation.path:  # two doors end the same budget
            if probe.ids in ended:
                continue
            ended.add(probe.ids)
        status, text = await transcript.ask(probe)
        if status in (401, 403, 404, 405, 500) and probe.operation.route != "/api/app/tenants/{tenant}":
            hidden.append((probe.method, probe.path, status, text[:300]))
    assert not hidden
    assert sum(tenants.b.word in words for words in transcript.words) > 10
