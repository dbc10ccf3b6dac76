"""The figures of several processes as those of one."""

from __future__ import annotations

from collections.abc import Iterable

from prometheus_client.utils import floatToGoString

_HELP, _TYPE = "# HELP ", "# TYPE "
_LARGEST = frozenset(
    {
        "interlock_build_info",
        "interlock_loop_lag_seconds",
        "interlock_queue_age_seconds",
        "interlock_waiting_due",
        "lattice_node_count",
    }
)
"""Gauges that say something of all processes, or of the worst one."""
_BIRTH = "_created"


class _Family:
    """The samples under one name, by their labels."""

    def __init__(self, name: str, line: str) -> None:
        self.head = [line]
        self.is_gauge = False
        self.samples: dict[str, float] = {}
        self._join = min if name.endswith(_BIRTH) else max if name in _LARGEST else float.__add__

    def add(self, line: str) -> None:
        sample, _, value = line.rpartition(" ")
        known = self.samples.get(sample)
        self.samples[sample] = float(value) if known is None else self._join(known, float(value))


def sum_of(living: Iterable[bytes], ended: Iterable[bytes] = ()) -> bytes:
    """What Prometheus reads of all processes together, from what it would read of each.

    Counts and timings are added; of processes that have ended they still count, their gauges do not.
    """
    families: dict[str, _Family] = {}
    for text in living:
        _add(families, text, with_gauges=True)
    for text in ended:
        _add(families, text, with_gauges=False)
    lines = [line for family in families.values() for line in (*family.head, *_lines(family))]
    return ("\n".join(lines) + "\n").encode()


def _add(families: dict[str, _Family], text: bytes, *, with_gauges: bool) -> None:
    family = _Family("", "")
    for line in text.decode().splitlines():
        if line.startswith(_HELP):
            name = line.split(" ", 3)[2]
            family = families.setdefault(name, _Family(name, line))
        elif line.startswith(_TYPE):
            family.is_gauge = line.endswith(" gauge")
            family.head[1:] = [line]
        elif line and (with_gauges or not family.is_gauge):
            family.add(line)


def _lines(family: _Family) -> Iterable[str]:
    for sample, value in family.samples.items():
        yield f"{sample} {floatToGoString(value)}"  # type: ignore[no-untyped-call]
