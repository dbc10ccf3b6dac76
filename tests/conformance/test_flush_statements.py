"""Every flush is a statement the database understands, whichever of its parts it needs."""

from __future__ import annotations

from itertools import chain, combinations

from conftest import Database
from interlock.backends.store.postgres.connection import close_quietly, connect_as_engine
from interlock.backends.store.postgres.flush import compose

PARTS = ("starts", "changes", "parks", "outcomes", "approvals", "closings", "artifacts", "notices", "outbox")
EVERY = [frozenset(some) for some in chain.from_iterable(combinations(PARTS, n) for n in range(len(PARTS) + 1))]


async def test_every_combination_of_parts_can_be_prepared(database: Database) -> None:
    connection = await connect_as_engine(database.serve_url)
    try:
        for parts in EVERY:
            statement = compose(parts)
            prepared = await connection.prepare(statement.text)
            assert len(prepared.get_parameters()) == len(statement.places)
    finally:
        await close_quietly(connection)


def test_a_part_that_is_not_needed_is_not_in_the_statement() -> None:
    assert "interlock.executions" not in compose(frozenset()).text
    assert "interlock.approvals" not in compose(frozenset({"starts", "parks"})).text
    assert "starts" not in compose(frozenset({"parks"})).places
