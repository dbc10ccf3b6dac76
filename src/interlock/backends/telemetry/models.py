"""Counts of model calls, kept without a lock: they are raised on the event loop alone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from prometheus_client.core import CounterMetricFamily, Metric
from prometheus_client.registry import Collector

from interlock.ports.telemetry import CallOutcome


class ModelCounts(Collector):
    """Calls of models that ended here, their tokens, and questions to caches."""

    def __init__(self) -> None:
        self._calls: Counter[tuple[str, str]] = Counter()
        self._tokens: Counter[tuple[str, str]] = Counter()
        self._cache: Counter[tuple[str, str]] = Counter()

    def called(self, model: str, outcome: CallOutcome, input_tokens: int, output_tokens: int) -> None:
        """One more call ended."""
        self._calls[model, outcome] += 1
        if input_tokens:
            self._tokens[model, "input"] += input_tokens
        if output_tokens:
            self._tokens[model, "output"] += output_tokens

    def cache_asked(self, cache: str, *, is_hit: bool) -> None:
        """One more question to a cache."""
        self._cache[cache, "hit" if is_hit else "miss"] += 1

    def collect(self) -> Iterable[Metric]:
        """Asked for by a scrape."""
        yield _family("interlock_model_calls", "Model calls that ended here.", ["model", "status"], self._calls)
        yield _family("interlock_model_tokens", "Their tokens.", ["model", "direction"], self._tokens)
        yield _family("interlock_cache_requests", "Questions to caches.", ["cache", "result"], self._cache)


def _family(name: str, text: str, labels: list[str], counts: Counter[tuple[str, str]]) -> Metric:
    family = CounterMetricFamily(name, text, labels=labels)
    for key, count in list(counts.items()):
        family.add_metric(key, count)
    return family
