"""The bar chart as SVG, drawn by hand. Its colours can be read on a light and on a dark page."""

from __future__ import annotations

import math
from html import escape
from typing import Any

Json = dict[str, Any]

SHOWN = 20
"""Bars."""
MOST_LINES = 7
"""Grid lines beside the one at zero."""
_ROW, _BAR = 24, 16  # pixels
_LEFT, _TOP, _RIGHT, _BOTTOM = 64, 72, 48, 56
_WIDTH = 560  # of the longest axis
_LEAST = 2  # of a mark, so that a single airport is seen

_STYLE = """\
text { font: 13px system-ui, sans-serif; fill: #6b7280 }
.title { font-size: 16px; font-weight: 600 }
.end { text-anchor: end } .middle { text-anchor: middle }
.grid { stroke: #6b7280; stroke-opacity: .3 }
.sound { fill: #3b82c4 } .flagged { fill: #d97706 }
@media (prefers-color-scheme: dark) { text { fill: #9ca3af } }"""


def draw_chart(groups: list[Json], flagged: dict[str, int]) -> str:
    """Airports of the largest states as bars, the ``flagged`` among them marked at the end of each bar."""
    bars = [(each["state"], each["airports"], flagged.get(each["state"], 0)) for each in groups[:SHOWN]]
    largest = max((count for _, count, _ in bars), default=1)
    step = _step(largest)
    end = step * max(1, math.ceil(largest / step))
    height = _TOP + _ROW * len(bars) + _BOTTOM
    width = _LEFT + _WIDTH + _RIGHT
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
        'role="img" aria-labelledby="title">',
        f"<style>\n{_STYLE}\n</style>",
        f'<text id="title" class="title" x="{_LEFT}" y="24">Airports by state, the {len(bars)} largest</text>',
        *_legend(),
        *_axis(step, end, len(bars)),
        *(line for row, bar in enumerate(bars) for line in _bar(row, bar, end)),
        "</svg>",
    ]
    return "\n".join(lines) + "\n"


def _step(largest: int) -> int:
    """The distance of the grid lines: 1, 2 or 5 times a power of ten, so that few of them are enough."""
    size = 1
    while True:
        for factor in (1, 2, 5):
            if factor * size * MOST_LINES >= largest:
                return factor * size
        size *= 10


def _legend() -> list[str]:
    return [
        f'<rect class="sound" x="{_LEFT}" y="38" width="12" height="12"/>',
        f'<text x="{_LEFT + 18}" y="49">sound</text>',
        f'<rect class="flagged" x="{_LEFT + 80}" y="38" width="12" height="12"/>',
        f'<text x="{_LEFT + 98}" y="49">flagged</text>',
    ]


def _axis(step: int, end: int, rows: int) -> list[str]:
    """Grid lines with their numbers, and what both axes are."""
    bottom = _TOP + _ROW * rows
    middle = _TOP + _ROW * rows // 2
    lines = []
    for value in range(0, end + 1, step):
        x = _LEFT + _length(value, end)
        lines.append(f'<line class="grid" x1="{x}" y1="{_TOP}" x2="{x}" y2="{bottom}"/>')
        lines.append(f'<text class="middle" x="{x}" y="{bottom + 18}">{value}</text>')
    lines.append(f'<text class="middle" x="{_LEFT + _WIDTH // 2}" y="{bottom + 42}">airports</text>')
    lines.append(f'<text class="middle" transform="translate(18 {middle}) rotate(-90)">state</text>')
    return lines


def _bar(row: int, bar: tuple[str, int, int], end: int) -> list[str]:
    state, count, flagged = bar
    y = _TOP + _ROW * row + (_ROW - _BAR) // 2
    whole = _length(count, end)
    marked = max(_LEAST, _length(min(flagged, count), end)) if flagged else 0
    return [
        f'<text class="end" x="{_LEFT - 8}" y="{y + 13}">{escape(state)}</text>',
        _rect("sound", 0, y, whole),
        *([_rect("flagged", whole - marked, y, marked)] if marked else []),
        f'<text x="{_LEFT + whole + 6}" y="{y + 13}">{count}</text>',
    ]


def _rect(kind: str, start: int, y: int, width: int) -> str:
    return f'<rect class="{kind}" x="{_LEFT + start}" y="{y}" width="{width}" height="{_BAR}"/>'


def _length(value: int, end: int) -> int:
    return round(_WIDTH * value / end)
