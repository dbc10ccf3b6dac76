"""Hints are packed into texts that fit, and come back as they were."""

from __future__ import annotations

from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from interlock.backends.bus.hints import LOOK, MAX_BYTES, InboxGrew, LogGrew, pack, unpack
from interlock.backends.bus.memory import topic_of

IDS = st.uuids()
LOGS = st.lists(st.builds(LogGrew, IDS, st.sampled_from([topic_of(name) for name in "abc"])), max_size=800)
INBOXES = st.lists(st.builds(InboxGrew, IDS, st.none() | st.integers(0, 2**63 - 1)), max_size=600)


@given(LOGS, INBOXES)
def test_packed_hints_come_back_by_tenant_and_fit(logs, inboxes):
    texts = list(pack(logs, inboxes))
    assert all(len(text.encode()) <= MAX_BYTES for text in texts)
    topics = list(dict.fromkeys(topic for _, topic in logs))
    ordered = sorted(logs, key=lambda hint: topics.index(hint.topic))
    assert [hint for text in texts for hint in unpack(text)] == [*ordered, *inboxes]
    assert len(texts) <= 1 + (23 * (len(logs) + 4) + 43 * len(inboxes)) // (MAX_BYTES - 70)


def test_a_text_without_hints_asks_to_look():
    assert unpack(LOOK) == []


@given(st.text(max_size=100) | st.text("2;:AZaz09-_=", max_size=60))
def test_any_text_is_read_or_refused(text):
    try:
        hints = unpack(text)
    except ValueError:
        return
    assert all(isinstance(hint, UUID | tuple) for hint in hints)
