"""Work that begets work: parents that wait for children, which have effects outside and children of their own."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from crash.judge import check_done, ids_of
from crash.load import Promise
from crash.stage import Stage
from crash.workflows import family, leaf, middle

LEAF = ("c1", "c2")
MEMBERS = {"": ("before", "after"), ".left": LEAF, ".twin": LEAF, ".right": ("m1",), ".right.inner": LEAF}
"""What is added to a parent's reference in those of its family, and the steps of each."""
FOUND = """
select execution_id::text, root_id::text, status, input ->> 'ref' as ref, output from interlock.executions
where root_id = any ($1::uuid[])"""


async def store_family(stage: Stage, delay: float) -> str:
    """Store the three workflows of a family, ``delay`` seconds a step; the id of the parent's."""
    leaf_id = await stage.store(leaf(stage.sink, delay))
    middle_id = await stage.store(middle(stage.sink, delay))
    return await stage.store(family(stage.sink, leaf_id, middle_id, delay))


def given_by(ref: str) -> dict[str, Any]:
    """What a parent gives in the end; it follows from its reference alone."""

    def receipts(member: str) -> dict[str, Any]:
        return {step: f"{ref}{member}:{step}:done" for step in MEMBERS[member]}

    right = receipts(".right") | {"inner": receipts(".right.inner")}
    return receipts("") | {"left": receipts(".left"), "twin": receipts(".twin"), "right": right}


async def check_families(stage: Stage, promises: Sequence[Promise]) -> None:
    """Every promised parent has each of its family once; all did all of it, and the parent gives what they gave."""
    rows = [dict(row) for row in await stage.observer.fetch(FOUND, ids_of(promises))]
    steps_of = {(one.execution_id, one.ref + member): steps for one in promises for member, steps in MEMBERS.items()}
    times = Counter((row["root_id"], row["ref"]) for row in rows)
    given = {one.execution_id: given_by(one.ref) for one in promises}
    parents = [row for row in rows if row["execution_id"] == row["root_id"]]
    verdict = stage.verdict
    verdict.expect_none(
        "each member of a family was begun once",
        (
            f"{root} {ref}: {times[root, ref]}"
            for root, ref in steps_of.keys() | times
            if not (times[root, ref] == 1 and (root, ref) in steps_of)
        ),
    )
    verdict.expect_none(
        "every member of a family succeeded",
        (f"{row['execution_id']} {row['status']}" for row in rows if row["status"] != "succeeded"),
    )
    verdict.expect_none(
        "every parent gives what its children gave",
        (f"{row['execution_id']}: {row['output']}" for row in parents if _output(row) != given[row["root_id"]]),
    )
    await check_done(
        stage,
        [(row["execution_id"], step) for row in rows for step in steps_of.get((row["root_id"], row["ref"]), ())],
    )
    verdict.counts["families"] = verdict.counts.get("families", 0) + len(promises)


def _output(row: Mapping[str, Any]) -> Any:
    return json.loads(row["output"]) if row["output"] is not None else None
