"""The functions that the example workflows call through the node type ``python``.

Each takes the ``arguments`` of its node and gives JSON back. They are pure: the same arguments give the same result,
byte for byte, so that it does not matter where and how often an attempt runs.
"""

from __future__ import annotations

import csv
import hashlib
import io
import math
import re
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from importlib.resources import files
from statistics import median
from typing import Any, Protocol

from interlock_examples.chart import draw_chart
from interlock_examples.report import write_report

Json = dict[str, Any]

FAR = 3.5
"""An airport is far out if its distance lies this many robust standard deviations above the usual one."""
FEWEST = 8
"""Airports a state must have before any of them can be called far out."""
SAME_PLACE = 0.5
"""Two airports closer than this, in kilometres, are the same one."""
EARTH = 12_742.0
"""Kilometres through the Earth."""

_MISSING = ("", "NA")
_CODE = re.compile(r"[A-Z0-9]{3,4}")
_EAST = frozenset(("CQ", "GU", "MP"))  # the Northern Marianas (by their former and present code) and Guam
_STATE = re.compile(
    "A[KLRSZ]|C[AOQT]|D[CE]|FL|G[AU]|HI|I[ADLN]|K[SY]|LA|M[ADEINOPST]|N[CDEHJMVY]|O[HKR]|P[AR]|RI|S[CD]|T[NX]|UT|V[AIT]|"
    "W[AIVY]"
)


class Context(Protocol):
    """What Interlock hands to a function that takes a second argument."""

    @property
    def attempt(self) -> int: ...


def read_airports(arguments: Json) -> Json:
    """All records of the packaged file, as text, with the file's digest: ``{records, count, sha256}``."""
    content = files("interlock_examples").joinpath("data/airports.csv").read_bytes()
    records = list(csv.DictReader(io.StringIO(content.decode())))
    return {"records": records, "count": len(records), "sha256": hashlib.sha256(content).hexdigest()}


def check_airports(batch: list[Json]) -> Json:
    """Tidy and check a batch of records: ``{checked, tidied, airports}``; what is wrong stands in ``problems``."""
    tidy = [_tidied(record) for record in batch]
    tidied = sum(before != after for before, after in zip(batch, tidy, strict=True))
    return {"checked": len(batch), "tidied": tidied, "airports": [_checked(record) for record in tidy]}


def group_airports(batches: list[Json]) -> Json:
    """Count the checked batches together and describe each state by its sound airports.

    ``{checked, tidied, sound, groups: [{state, airports, latitude, longitude, usual_km, farthest, farthest_km}]}``,
    largest state first. The centre is the median of the coordinates; distances are kilometres from it.
    """
    airports = [airport for batch in batches for airport in batch["airports"]]
    by_state: dict[str, list[Json]] = defaultdict(list)
    for airport in airports:
        if not airport.get("problems"):
            by_state[airport["state"]].append(airport)
    groups = [_described(state, members) for state, members in by_state.items()]
    return {
        "checked": sum(batch["checked"] for batch in batches),
        "tidied": sum(batch["tidied"] for batch in batches),
        "sound": sum(group["airports"] for group in groups),
        "groups": sorted(groups, key=lambda group: (-group["airports"], group["state"])),
    }


def flag_airports(arguments: Json) -> Json:
    """Everything a person should look at: ``{count, by_reason, by_state, flagged: [{code, name, state, reasons}]}``.

    ``arguments`` has the checked ``batches`` and the ``groups`` of their states.
    """
    airports = [airport for batch in arguments["batches"] for airport in batch["airports"]]
    centres = {group["state"]: (group["latitude"], group["longitude"]) for group in arguments["groups"]}
    reasons: dict[str, list[str]] = {airport["code"]: list(airport.get("problems", [])) for airport in airports}
    for code in _far_out(airports, centres):
        reasons[code].append("far from the rest of its state")
    for code in _listed_twice(airports):
        reasons[code].append("listed twice")
    flagged = [
        {**{key: airport[key] for key in ("code", "name", "state")}, "reasons": reasons[airport["code"]]}
        for airport in sorted(airports, key=lambda airport: str(airport["code"]))
        if reasons[airport["code"]]
    ]
    return {
        "count": len(flagged),
        "by_reason": _counted(reason for each in flagged for reason in each["reasons"]),
        "by_state": _counted(each["state"] for each in flagged),
        "flagged": flagged,
    }


def compose_report(arguments: Json) -> Json:
    """The report as Markdown and its chart as SVG, from ``source``, ``summary``, ``flagged`` and ``decision``."""
    summary, flagged = arguments["summary"], arguments["flagged"]
    return {
        "report": write_report(arguments["source"], summary, flagged, arguments.get("decision")),
        "chart": draw_chart(summary["groups"], flagged["by_state"]),
    }


def succeed_later(arguments: Json, context: Context) -> Json:
    """Fails like a service that is down for a moment, until the attempt number ``succeeds_on``."""
    if context.attempt < arguments["succeeds_on"]:
        raise ConnectionError(f"the service is down (attempt {context.attempt})")
    return {"attempts": context.attempt}


def take_time(arguments: Json) -> Json:
    """Takes ``seconds``."""
    time.sleep(arguments["seconds"])
    return {"seconds": arguments["seconds"]}


def _tidied(record: Json) -> Json:
    """The same texts with single blanks and none at the ends."""
    return {key: " ".join(str(value or "").split()) for key, value in record.items()}


def _checked(record: Json) -> Json:
    latitude, longitude = _degrees(record["latitude"], 90), _degrees(record["longitude"], 180)
    airport = {
        "code": record["iata"],
        "name": record["name"],
        "state": "" if record["state"] in _MISSING else record["state"],
        "latitude": latitude,
        "longitude": longitude,
    }
    problems = [reason for reason, is_wrong in _rules(airport, record["country"]) if is_wrong]
    return {**airport, "problems": problems} if problems else airport


def _rules(airport: Json, country: str) -> list[tuple[str, bool]]:
    """What can be said of one record alone: a reason to flag it, and whether it holds."""
    state, longitude = airport["state"], airport["longitude"]
    return [
        ("malformed code", _CODE.fullmatch(airport["code"]) is None),
        ("name missing", airport["name"] in _MISSING),
        ("not in the United States", country != "USA"),
        ("state missing", not state),
        ("unknown state", bool(state) and _STATE.fullmatch(state) is None),
        ("coordinates unreadable", airport["latitude"] is None or longitude is None),
        ("wrong hemisphere", longitude is not None and longitude < 0 and state in _EAST),
    ]


def _degrees(text: str, limit: int) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return round(value, 6) if abs(value) <= limit else None


def _described(state: str, members: list[Json]) -> Json:
    centre = (median(each["latitude"] for each in members), median(each["longitude"] for each in members))
    distances = [(_kilometres(centre, _place(each)), each["code"]) for each in members]
    farthest_km, farthest = max(distances)
    return {
        "state": state,
        "airports": len(members),
        "latitude": round(centre[0], 4),
        "longitude": round(centre[1], 4),
        "usual_km": round(median(distance for distance, _ in distances)),
        "farthest": farthest,
        "farthest_km": round(farthest_km),
    }


def _far_out(airports: list[Json], centres: dict[str, tuple[float, float]]) -> Iterator[str]:
    """Codes of airports whose distance is an outlier within their state, by the median absolute deviation."""
    by_state: dict[str, list[tuple[float, str]]] = defaultdict(list)
    for airport in airports:
        if airport["state"] in centres and not airport.get("problems"):
            distance = _kilometres(centres[airport["state"]], _place(airport))
            by_state[airport["state"]].append((distance, airport["code"]))
    for members in by_state.values():
        if len(members) < FEWEST:
            continue
        usual = median(distance for distance, _ in members)
        spread = 1.4826 * median(abs(distance - usual) for distance, _ in members)
        yield from (code for distance, code in members if distance - usual > FAR * spread)


def _listed_twice(airports: list[Json]) -> set[str]:
    """Codes of airports that share their place with another. Sorted by latitude, only near neighbours are compared."""
    placed = sorted((*_place(each), each["code"]) for each in airports if None not in _place(each))
    near = 360 * SAME_PLACE / (math.pi * EARTH)  # degrees of latitude
    found: set[str] = set()
    for index, (latitude, longitude, code) in enumerate(placed):
        for other in placed[index + 1 :]:
            if other[0] - latitude > near:
                break
            if _kilometres((latitude, longitude), other[:2]) < SAME_PLACE:
                found |= {code, other[2]}
    return found


def _place(airport: Json) -> tuple[Any, Any]:
    return airport["latitude"], airport["longitude"]


def _kilometres(first: tuple[float, float], second: tuple[float, float]) -> float:
    """The great-circle distance between two places in degrees."""
    latitude, longitude, other_latitude, other_longitude = map(math.radians, (*first, *second))
    half = (
        math.sin((other_latitude - latitude) / 2) ** 2
        + math.cos(latitude) * math.cos(other_latitude) * math.sin((other_longitude - longitude) / 2) ** 2
    )
    return EARTH * math.asin(math.sqrt(half))


def _counted(values: Iterator[str]) -> dict[str, int]:
    """How often each occurs, most frequent first."""
    return dict(sorted(Counter(values).items(), key=lambda item: (-item[1], item[0])))
