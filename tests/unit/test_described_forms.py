"""The document tells of texts what the code takes, no less and no more."""

from __future__ import annotations

import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from interlock.core.errors import InterlockError
from interlock.doors.http.plumbing.described import Since
from interlock.doors.http.plumbing.relaying import CACHE, MAX_CACHE_SECONDS
from interlock.doors.http.plumbing.sse import resume_after

SINCE = Since.__metadata__[0].extra_json_schema["pattern"]  # type: ignore[attr-defined]


@given(st.from_regex("[0-9]{0,12}", fullmatch=True) | st.text(max_size=12))
@example("999999999")
@example("1000000000")
@example("2147483647")
@example("")
def test_a_stream_resumes_after_what_the_document_allows(text: str) -> None:
    if re.fullmatch(SINCE, text, re.ASCII):
        assert resume_after(None, text) == int(text)
        return
    with pytest.raises(InterlockError):
        resume_after(None, text)


@pytest.mark.parametrize("seconds", [1, 60, 3_600, 10_000, MAX_CACHE_SECONDS])
def test_every_age_of_a_cached_answer_that_is_taken_is_in_the_document(seconds: int) -> None:
    assert re.fullmatch(CACHE.schema["pattern"], str(seconds))
