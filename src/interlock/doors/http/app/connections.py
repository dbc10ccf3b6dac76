"""Connections in the three forms that clients write, and back."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from interlock.core.definition.limits import MAX_CONNECTIONS, MAX_PROBLEMS
from interlock.core.definition.report import Place
from interlock.core.workflow import Problem
from interlock.doors.http.app.unknown_keys import UnknownKeys, Words

_TEXT_ARROW = "->"
_LIST_KEYS = {
    "from": ("from_node", "from", "source"),
    "to": ("to_node", "to", "target"),
    "port": ("output_key", "port"),
    "into": ("input_key", "into"),
}
_ENDS = tuple(name for names in _LIST_KEYS.values() for name in names)
_TARGET = ("node", "port", "type", "index")
_RULES = ("when", "condition", "mapping", "conversion_function")
_OF_LIST = Words(used=(*_ENDS, *_RULES), kept=("id",))
_OF_TARGET = Words(used=(*_TARGET, *_RULES), kept=("id",))


class End(NamedTuple):
    """A node as connections see it. ``ports`` are in the order of its type; none: they are not known."""

    node_id: str
    name: str
    ports: tuple[str, ...]


class Wire(NamedTuple):
    """One connection with what else its author wrote about it, a condition always as ``when``. ``path`` is where."""

    source: str
    target: str
    port: str
    into: str
    extra: Mapping[str, Any]
    path: str


class Connections:
    """Reads connections among ``ends``. Ends may be named by id or by a name that is used once.

    Keys that mean nothing go to ``unknown``.
    """

    def __init__(self, ends: Sequence[End], unknown: UnknownKeys) -> None:
        counted = Counter(end.name for end in ends if end.name)
        self._doubled = {name for name, count in counted.items() if count > 1}
        by_name = {end.name: end for end in reversed(ends) if end.name}
        self._ends = by_name | {end.node_id: end for end in reversed(ends)}
        self._ids = {end.node_id for end in ends}
        self._unknown = unknown
        self.problems: list[Problem] = []

    def read(self, connections: Any) -> list[Wire]:
        """All connections that can be read; the others are in ``problems``."""
        if connections is None:
            return []
        if isinstance(connections, list):
            return [wire for index, item in enumerate(connections) for wire in self._from_list(item, index)]
        if isinstance(connections, dict):
            return self._from_map(connections)
        self._problem("connections", "Connections must be a list or an object")
        return []

    def _from_list(self, item: Any, index: int) -> Iterator[Wire]:
        path = f"connections[{index}]"
        if isinstance(item, str) and item.count(_TEXT_ARROW) == 1:
            source, _, target = item.partition(_TEXT_ARROW)
            item = {"from": source.strip(), "to": target.strip()}
        if not isinstance(item, dict):
            self._problem(path, "A connection must be an object with from_node and to_node")
            return
        told = {key: next((item[name] for name in names if name in item), None) for key, names in _LIST_KEYS.items()}
        source_end = self._end(told["from"], f"{path}.from_node")
        target_end = self._end(told["to"], f"{path}.to_node")
        if source_end is None or target_end is None:
            return
        port = self._port(source_end, told["port"] or "result", None, f"{path}.output_key")
        if port is not None:
            extra = self._extra(item, _ENDS, _OF_LIST, path)
            yield Wire(source_end.node_id, target_end.node_id, port, str(told["into"] or "main"), extra, path)

    def _from_map(self, connections: dict[str, Any]) -> list[Wire]:
        is_typed = {isinstance(value, dict) and "connection_types" in value for value in connections.values()}
        if is_typed == {True, False}:
            self._problem("connections", "Two forms of connections are mixed; write all of them in one form")
            return []
        wires: list[Wire] = []
        for name, value in connections.items():
            if len(wires) > MAX_CONNECTIONS:
                self._problem("connections", f"At most {MAX_CONNECTIONS} connections are allowed")
                return []
            path = f'connections["{name[:64]}"]'
            end = self._end(name, path)
            ports = value.get("connection_types") if is_typed == {True} else value
            if not isinstance(ports, dict):
                self._problem(path, "Connections of a node must be an object of ports")
            elif end is not None:
                wires.extend(self._from_ports(end, ports, path))
        return wires

    def _from_ports(self, end: End, ports: dict[str, Any], path: str) -> Iterator[Wire]:
        for key, told in ports.items():
            where = f"{path}.{key[:64]}"
            value = told.get("connections") if isinstance(told, dict) else told
            if not isinstance(value, list):
                self._problem(where, "The connections of a port must be a list")
                continue
            groups: list[tuple[int | None, Any]] = (
                list(enumerate(value)) if any(isinstance(item, list) for item in value) else [(None, value)]
            )
            for position, targets in groups:
                port = self._port(end, key, position, where)
                if port is not None:
                    yield from self._targets(end, port, targets or [], where)

    def _targets(self, end: End, port: str, targets: Any, path: str) -> Iterator[Wire]:
        if not isinstance(targets, list):
            self._problem(path, "The targets of a port must be a list")
            return
        for index, item in enumerate(targets):
            where = f"{path}[{index}]"
            if not isinstance(item, dict):
                self._problem(where, "A target must be an object with the name of a node")
                continue
            target = self._end(item.get("node"), f"{where}.node")
            if target is not None:
                into = str(item.get("port") or item.get("type") or "main")
                extra = self._extra(item, _TARGET, _OF_TARGET, where)
                yield Wire(end.node_id, target.node_id, port, into, extra, where)

    def _extra(self, item: dict[str, Any], own: tuple[str, ...], words: Words, path: str) -> dict[str, Any]:
        """What a connection says beside its ends."""
        self._unknown.look(Place(path), item, words)
        extra = {key: value for key, value in item.items() if key not in own}
        condition = extra.pop("condition", None)
        if condition is None:
            return extra
        if extra.get("when") is None:
            extra["when"] = condition
        elif extra["when"] != condition and len(self.problems) < MAX_PROBLEMS:
            message = "'when' and 'condition' mean the same and differ"
            where = f"{path}.condition"
            self.problems.append(Problem(code="KEY_CONFLICT", message=message, path=where, hint="keep 'when' only"))
        return extra

    def _end(self, name: Any, path: str) -> End | None:
        if not isinstance(name, str):
            self._problem(path, "A connection must name a node")
            return None
        found = self._ends.get(name)
        if found is None:
            message = f"The connection names a node '{name[:100]}' that does not exist"
            self._problem(path, message, name, "write the id or the name of a node")
            return None
        if name in self._doubled and name not in self._ids:
            message = f"Two nodes are called '{name[:100]}', so their name cannot be used in connections"
            self._problem(path, message, name, "write the id of the node, or give the nodes different names")
            return None
        return found

    def _port(self, end: End, key: Any, position: int | None, path: str) -> str | None:
        """The port of our node type behind a key and a position in its list."""
        if not isinstance(key, str):
            self._problem(path, "The name of a port must be a text")
            return None
        if key not in ("main", "success"):
            return key
        if position is None or not end.ports:
            return "result" if "result" in end.ports or not end.ports else end.ports[0]
        if position < len(end.ports):
            return end.ports[position]
        message = f"Node '{end.name or end.node_id}' has no output number {position}"
        self._problem(path, message, position, f"its outputs are {', '.join(end.ports)}")
        return None

    def _problem(self, path: str, message: str, value: Any = None, hint: str = "") -> None:
        if len(self.problems) >= MAX_PROBLEMS:
            return
        shown = value[:100] if isinstance(value, str) else value
        self.problems.append(Problem(code="CONNECTION_INVALID", message=message, path=path, value=shown, hint=hint))


def flat(wires: Sequence[Wire]) -> list[dict[str, Any]]:
    """Connections as the list that every answer adds."""
    return [
        {
            "from_node": wire.source,
            "to_node": wire.target,
            "output_key": wire.port,
            **({"input_key": wire.into} if wire.into != "main" else {}),
            **wire.extra,
        }
        for wire in wires
    ]


def main_form(items: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Flat connections as an object by node and port, as many editors keep them."""
    found: dict[str, Any] = {}
    for item in items:
        ports = found.setdefault(item["from_node"], {})
        if item["output_key"] == "result":
            target = {"node": item["to_node"], "type": item.get("input_key", "main"), "index": 0}
            ports.setdefault("main", [[]])[0].append(target)
        else:
            target = {"node": item["to_node"], "port": item.get("input_key", "main")}
            ports.setdefault(item["output_key"], []).append(target)
    return found


def typed_form(items: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Flat connections as a typed map."""
    found: dict[str, Any] = {}
    for item in items:
        key = "main" if item["output_key"] == "result" else item["output_key"]
        types = found.setdefault(item["from_node"], {"connection_types": {}})["connection_types"]
        target = {"node": item["to_node"], "type": item.get("input_key", "main"), "index": 0}
        types.setdefault(key, {"connections": []})["connections"].append(target)
    return found
