"""Which tasks share a call, and when it is made."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable

from hypothesis import given
from hypothesis import strategies as st

from interlock.core.placing.collecting import LONGEST, Collection
from interlock.core.workflow import BatchPolicy


def grows(kind: Hashable, members: tuple[str, ...]) -> bool:
    return True


def is_done(kind: Hashable, members: tuple[str, ...]) -> bool:
    return False


def test_a_batch_leaves_when_it_is_full() -> None:
    collection: Collection[str] = Collection()
    policy = BatchPolicy(size=3, seconds=1.0)
    assert collection.add("k", "a", policy, 0.0) == ()
    assert collection.add("k", "b", policy, 0.1) == ()
    assert collection.add("k", "c", policy, 0.2) == ("a", "b", "c")
    assert collection.next_due() is None


def test_a_batch_that_is_not_full_leaves_when_its_time_is_over() -> None:
    collection: Collection[str] = Collection()
    collection.add("k", "a", BatchPolicy(size=3, seconds=0.5), 10.0)
    collection.add("k", "b", BatchPolicy(size=3, seconds=0.5), 10.4)
    assert collection.next_due() == 10.5
    assert collection.due(10.49, is_done) == []
    assert collection.due(10.5, grows) == [("a", "b")]
    assert collection.due(11.0, grows) == []


def test_a_batch_without_a_time_leaves_once_nothing_can_join_it() -> None:
    collection: Collection[str] = Collection()
    collection.add("k", "a", BatchPolicy(size=3, seconds=0), 10.0)
    assert collection.due(10.0, grows) == []
    assert collection.due(10.0, is_done) == [("a",)]


def test_a_batch_without_a_time_waits_no_longer_than_five_seconds() -> None:
    collection: Collection[str] = Collection()
    collection.add("k", "a", BatchPolicy(size=3, seconds=0), 10.0)
    assert collection.due(10.0 + LONGEST, grows) == [("a",)]


def test_kinds_never_mix() -> None:
    collection: Collection[str] = Collection()
    policy = BatchPolicy(size=2, seconds=1.0)
    collection.add("tenant-1", "a", policy, 0.0)
    collection.add("tenant-2", "b", policy, 0.0)
    assert collection.add("tenant-1", "c", policy, 0.0) == ("a", "c")
    assert collection.due(1.0, grows) == [("b",)]


def test_one_that_leaves_before_its_batch_does_is_not_in_it() -> None:
    collection: Collection[str] = Collection()
    policy = BatchPolicy(size=3, seconds=1.0)
    collection.add("k", "a", policy, 0.0)
    collection.add("k", "b", policy, 0.0)
    assert collection.remove("a")
    assert not collection.remove("a")
    assert collection.due(1.0, grows) == [("b",)]
    collection.add("k", "a", policy, 5.0)
    assert collection.remove("a")
    assert collection.next_due() is None


_kinds = st.sampled_from(["x", "y"])
_members = st.integers(0, 30).map(str)
_steps = st.lists(
    st.one_of(
        st.tuples(st.just("add"), _kinds, _members),
        st.tuples(st.just("remove"), _members),
        st.tuples(st.just("wait"), st.floats(0, 3)),
    ),
    max_size=60,
)


@given(steps=_steps, size=st.integers(1, 5), seconds=st.sampled_from([0.0, 0.1, 2.0]))
def test_each_member_leaves_once_in_a_batch_of_its_kind_and_in_time(
    steps: list[tuple[str, ...]], size: int, seconds: float
) -> None:
    collection: Collection[str] = Collection()
    policy = BatchPolicy(size=size, seconds=seconds)
    waiting: dict[str, tuple[str, float]] = {}
    left: Counter[str] = Counter()
    added: Counter[str] = Counter()
    now = 0.0

    def leave(batches: list[tuple[str, ...]]) -> None:
        for batch in batches:
            assert 0 < len(batch) <= size
            assert len({waiting.pop(member)[0] for member in batch}) == 1
            left.update(batch)

    for step in steps:
        if step[0] == "add":
            if step[2] not in waiting:
                added[step[2]] += 1
                waiting[step[2]] = (step[1], now)
            full = collection.add(step[1], step[2], policy, now)
            leave([full] if full else [])
        elif step[0] == "remove":
            assert collection.remove(step[1]) == (step[1] in waiting)
            if waiting.pop(step[1], None):
                added[step[1]] -= 1
        else:
            now += float(step[1])
            leave(collection.due(now, grows))
            assert all(since + (seconds or LONGEST) > now for _, since in waiting.values())
    leave(collection.due(now + LONGEST, grows))
    assert not waiting
    assert +left == +added
