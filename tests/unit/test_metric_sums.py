"""Figures of several processes are told as those of one."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from interlock.backends.telemetry.prometheus import PrometheusTelemetry
from interlock.backends.telemetry.sums import sum_of

Calls = list[tuple[str, int, float]]


def telling(calls: Calls, streams: int = 0) -> bytes:
    """What a process tells that has answered these calls."""
    telemetry = PrometheusTelemetry("1.0")
    for route, status, seconds in calls:
        telemetry.request_ended(route, "GET", status, seconds)
        telemetry.task_ended('a "node" of\nmine', "ok", seconds, is_placed=True)
    for _ in range(streams):
        telemetry.stream_opened("app")
    telemetry.gauge("loop_lag_seconds", len(calls) / 10)
    return telemetry.expose()


def figures(text: bytes) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text.decode())
        for sample in family.samples
        if not sample.name.endswith(("_created", "_sum"))
    }


calls = st.lists(
    st.tuples(st.sampled_from(["/a", "/b c", '/"d"']), st.sampled_from([200, 404]), st.floats(0.0, 70.0)), max_size=8
)


@settings(deadline=None)
@given(st.lists(calls, min_size=1, max_size=4))
def test_counts_and_timings_of_many_are_those_of_one_that_did_it_all(parts: list[Calls]) -> None:
    together = figures(sum_of([telling(part) for part in parts]))
    alone = figures(telling([call for part in parts for call in part]))
    lag = ("interlock_loop_lag_seconds", frozenset[tuple[str, str]]())
    assert together.pop(lag) == max(len(part) for part in parts) / 10
    assert alone.pop(lag) is not None
    assert together == alone


def test_who_has_ended_counts_and_holds_nothing() -> None:
    found = figures(sum_of([telling([("/a", 200, 0.1)], streams=2)], [telling([("/a", 200, 0.1)], streams=5)]))
    assert found["interlock_streams_open", frozenset({("door", "app")})] == 2
    labels = frozenset({("route", "/a"), ("method", "GET"), ("status", "200")})
    assert found["interlock_http_requests_total", labels] == 2
    assert found["interlock_build_info", frozenset({("version", "1.0")})] == 1


def test_one_alone_is_told_as_it_is() -> None:
    text = telling([("/a", 200, 0.1), ("/b c", 404, 3.0)], streams=1)
    assert sum_of([text]) == text
