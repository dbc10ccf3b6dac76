"""Which entries share a flush: no row has two writers, each execution keeps its order, nobody waits for ever."""

from __future__ import annotations

from collections import defaultdict, deque
from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from interlock.runtime.batch import take
from interlock.runtime.entry import Entry

NUMBERS = st.integers(0, 5)
ENTRIES = st.lists(st.tuples(NUMBERS, st.sets(NUMBERS, max_size=2), st.sets(NUMBERS, max_size=1)), max_size=30)


def entry(execution: int, told: set[int], started: set[int]) -> Entry:
    made = Entry(UUID(int=execution), "t", lambda *_: None, lambda *_: None)
    made.notices = [{"execution_id": UUID(int=one)} for one in told - started - {execution}]
    made.starts = [{"execution_id": UUID(int=one)} for one in started]
    return made


def targets(found: Entry) -> list[UUID]:
    return [notice["execution_id"] for notice in found.notices]


@given(ENTRIES)
def test_a_flush_writes_no_row_twice_and_keeps_the_order_of_each_execution(given_entries: list) -> None:
    entries = [entry(*fields) for fields in given_entries]
    queue = deque(entries)
    order: dict[UUID, list[Entry]] = defaultdict(list)
    while queue:
        first = queue[0]
        chosen = take(queue)
        assert chosen[0] is first  # what waited longest always goes
        told = [target for found in chosen for target in targets(found)]
        begun = [start["execution_id"] for found in chosen for start in found.starts]
        assert len(told) == len(set(told))
        assert not {found.execution_id for found in chosen} & set(told)
        assert not set(begun) & set(told)
        for found in chosen:
            order[found.execution_id].append(found)
    for execution_id, done in order.items():
        assert done == [found for found in entries if found.execution_id == execution_id]
