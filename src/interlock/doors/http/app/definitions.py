"""From a definition as clients of this door write it to the house's own form.

Both request forms are read, connections in all three forms, types as TYPE and SUBTYPE or as our own names.
A flow is taken as it is. What has no meaning here is a problem or a warning, never silently left out.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from interlock.core.definition.limits import MAX_CONNECTIONS, MAX_NODES, MAX_PROBLEMS
from interlock.core.definition.report import Place, shown
from interlock.core.node_type import NodeType
from interlock.core.workflow import Problem
from interlock.doors.http.app.connections import Connections, End, Wire, flat
from interlock.doors.http.app.node_words import FAMILY, WORDS, WordError, normal_subtype, normal_type
from interlock.doors.http.app.unknown_keys import UnknownKeys, Words
from interlock.services.workflows.draft import Echoes

FLOW_KEYS = (
    "states",
    "initial_state",
    "state_node_map",
    "state_params",
    "user_input_states",
    "terminal_states",
    "retry",
    "timeouts",
    "timers",
    "transitions",
)
_NODE_KEYS = (
    "id",
    "name",
    "type",
    "parameters",
    "input",
    "retry",
    "timeout",
    "deadline",
    "heartbeat",
    "on_error",
    "join",
    "disabled",
    "resources",
)
_ALIASES = {"configurations": "parameters", "input_params": "input", "timeout_seconds": "timeout"}
_NODE = Words(
    used=(*_NODE_KEYS, *_ALIASES, "subtype", "retry_policy", "attached_nodes"),
    kept=("description", "position", "notes", "output_params"),
)
_RETRY = Words(used=("max_tries", "wait_between_tries"))
_GRAPH_KEYS = ("nodes", "connections", "settings")
_ON_ERROR = {
    "stop_workflow": "stop",
    "stop_workflow_on_error": "stop",
    "continue_on_error": "continue",
    "continue_regular_output": "continue",
    "continue_error_output": "error_output",
}
_SETTINGS = Words(
    used=("timeout", "error_policy", "max_parallel", "budget", "on_failure", "output", "over_ask"),
    kept=("timezone", "save_execution_progress"),
)
MAX_PARALLEL = 10
"""Nodes that run at the same time in a graph of this vocabulary, unless its settings say more."""

_PASSES_ON = re.compile(r"def\s+\w+\s*\(\s*(\w+)\s*(?::[^)]*)?\)\s*(?:->[^:]+)?:\s*return\s+\1\s*", re.DOTALL)
_NOT_ID = re.compile(r"[^A-Za-z0-9_.:-]+")


class Translated(msgspec.Struct, frozen=True, kw_only=True):
    """``native`` is our form; ``nodes`` and ``connections_list`` are the author's nodes and wires, made regular.

    ``echoes`` are what the checks of the native form would say of the ``problems`` once more.
    """

    native: dict[str, Any]
    nodes: Any
    connections_list: list[dict[str, Any]]
    problems: list[Problem]
    warnings: list[Problem]
    echoes: Echoes = frozenset()


def translate(source: Mapping[str, Any], catalogue: Mapping[str, NodeType]) -> Translated:
    """Translate a definition (name and so on are not looked at). Never raises for anything that is JSON."""
    if source.get("kind") == "flow" or ("states" in source and not source.get("nodes")):
        native = {"kind": "flow", **{key: source[key] for key in FLOW_KEYS if source.get(key) is not None}}
        warnings = _of_other_kind(source, _GRAPH_KEYS, FLOW_KEYS)
        return Translated(native=native, nodes=[], connections_list=[], problems=[], warnings=warnings)
    return _Translation(catalogue).graph(source)


class _Translation:
    """One translation of one graph."""

    def __init__(self, catalogue: Mapping[str, NodeType]) -> None:
        self._catalogue = catalogue
        self._problems: list[Problem] = []
        self._warnings: list[Problem] = []
        self._unknown = UnknownKeys()
        self._echoes: set[tuple[str, str]] = set()
        self._ids: set[str] = set()
        self._numbers: dict[str, int] = {}  # how many ids were made from a name
        self._has_words = False

    def graph(self, source: Mapping[str, Any]) -> Translated:
        nodes, connections = source.get("nodes"), source.get("connections")
        self._warnings += _of_other_kind(source, FLOW_KEYS, _GRAPH_KEYS)
        if not isinstance(nodes, list):
            native = {"kind": "graph", "nodes": nodes if nodes is not None else []}
            return self._done(native, [], [])
        if len(nodes) > MAX_NODES or (isinstance(connections, list) and len(connections) > MAX_CONNECTIONS):
            native = {"kind": "graph", "nodes": nodes, "connections": connections or []}
            return self._done(native, [], [])  # too large, which the checks say without looking at each
        self._ids = {node["id"] for node in nodes if isinstance(node, dict) and isinstance(node.get("id"), str)}
        regular = [self._regular(node, index) for index, node in enumerate(nodes)]
        native_nodes = [self._native(node, f"nodes[{index}]") for index, node in enumerate(regular)]
        reader = Connections([self._end(node) for node in native_nodes if isinstance(node, dict)], self._unknown)
        wires = reader.read(connections)
        self._problems += reader.problems
        native = {
            "kind": "graph",
            "nodes": native_nodes,
            "connections": [self._connection(wire) for wire in wires],
            "settings": self._settings(source.get("settings")),
        }
        return self._done(native, regular, flat(wires))

    def _done(self, native: dict[str, Any], nodes: Any, connections_list: list[dict[str, Any]]) -> Translated:
        return Translated(
            native=native,
            nodes=nodes,
            connections_list=connections_list,
            problems=self._problems[:MAX_PROBLEMS],
            warnings=[*self._warnings, *self._unknown.problems][:MAX_PROBLEMS],
            echoes=frozenset(self._echoes),
        )

    def _regular(self, node: Any, index: int) -> Any:
        """The author's node with an id, and its type and subtype in today's spelling."""
        if not isinstance(node, dict):
            return node
        regular = dict(node)
        name = node.get("name")
        if node.get("id") is None:
            regular["id"] = self._id_for(name, index)
        if isinstance(name, str) and " " in name:
            message = f"The name '{name[:100]}' has spaces"
            path = f"nodes[{index}].name"
            self._warnings.append(Problem(code="NAME_WITH_SPACES", message=message, path=path, node_id=regular["id"]))
        kind, subtype = node.get("type"), node.get("subtype")
        if isinstance(kind, str) and kind not in self._catalogue and normal_type(kind) in FAMILY:
            self._has_words = True
            regular["type"] = normal_type(kind)
            if isinstance(subtype, str):
                regular["subtype"] = normal_subtype(regular["type"], subtype)
        return regular

    def _id_for(self, name: Any, index: int) -> str:
        base = _NOT_ID.sub("_", name).strip("_")[:100] if isinstance(name, str) else ""
        node_id = base or f"node_{index + 1}"
        while node_id in self._ids:
            number = self._numbers[base] = self._numbers.get(base, 1) + 1
            node_id = f"{base or 'node'}_{number}"
        self._ids.add(node_id)
        return node_id

    def _native(self, node: Any, path: str) -> Any:
        if not isinstance(node, dict):
            return node
        place = Place(path, node["id"] if isinstance(node.get("id"), str) else None)
        self._unknown.look(place, node, _NODE)
        native = {key: node[key] for key in _NODE_KEYS if node.get(key) is not None}
        for alias, key in _ALIASES.items():
            if node.get(alias) is not None and native.setdefault(key, node[alias]) != node[alias]:
                message = f"'{key}' and '{alias}' mean the same and differ"
                self._problem("KEY_CONFLICT", f"{path}.{alias}", message, node)
        self._type(node, native, path)
        on_error = native.get("on_error")
        if isinstance(on_error, str):
            native["on_error"] = _ON_ERROR.get(on_error.lower(), on_error.lower())
        if node.get("retry_policy") is not None:
            native["retry"] = self._retry(node["retry_policy"], place.at("retry_policy"))
        if node.get("attached_nodes"):
            message = "Attached nodes belong to AI agents, which are not available here yet"
            self._problem("NODE_TYPE_UNAVAILABLE", f"{path}.attached_nodes", message, node)
        return native

    def _retry(self, policy: Any, place: Place) -> Any:
        """This door's retries wait the same time before each."""
        if not isinstance(policy, dict):
            return policy
        self._unknown.look(place, policy, _RETRY)
        wait = policy.get("wait_between_tries", 5)
        return {
            "max_attempts": policy.get("max_tries", 1),
            "backoff": wait,
            "factor": 1,
            "max_backoff": wait,
            "jitter": False,
        }

    def _type(self, node: dict[str, Any], native: dict[str, Any], path: str) -> None:
        """Replace TYPE and SUBTYPE by the node type that means the same here.

        Words without a meaning stay as they are: the checks look at the rest of such a node all the same.
        """
        kind = node.get("type")
        if not isinstance(kind, str) or kind in self._catalogue or kind not in FAMILY:
            return  # our own name, or nothing we know: the checks say so
        subtype = node.get("subtype")
        if not isinstance(subtype, str):
            known = ", ".join(sorted(subtype for family, subtype in WORDS if family == kind)) or "none yet"
            self._problem("KEY_MISSING", f"{path}.subtype", f"A node of type {kind} needs a subtype: {known}", node)
            self._echoes.add(("NODE_TYPE_UNKNOWN", f"{path}.type"))
            return
        word = WORDS.get((kind, subtype))
        if word is None or word.node_type not in self._catalogue:
            is_known = subtype in FAMILY[kind]
            code = "NODE_TYPE_UNAVAILABLE" if is_known else "NODE_TYPE_UNKNOWN"
            what = "is not available on this server yet" if is_known else "is not known"
            self._problem(code, f"{path}.subtype", f"{kind}.{subtype[:100]} {what}", node)
            self._echoes.add(("NODE_TYPE_UNKNOWN", f"{path}.type"))
            return
        native["type"] = word.node_type
        parameters = native.get("parameters", {})
        if isinstance(parameters, dict):
            try:
                native["parameters"] = word.translate(parameters)
            except WordError as error:
                self._problem("PARAMETER_INVALID", f"{path}.parameters", f"{kind}.{subtype}: {error}", node)
                self._echoes.add(("PARAMETER_INVALID", f"{path}.parameters"))

    def _end(self, native: dict[str, Any]) -> End:
        node_type = self._catalogue.get(str(native.get("type")))
        parameters = native.get("parameters")
        cases = parameters.get("cases") if isinstance(parameters, dict) else None
        ports = node_type.ports if node_type is not None else ()
        if isinstance(cases, list):
            ports = (*(str(case.get("port")) for case in cases if isinstance(case, dict)), "default")
        return End(str(native.get("id")), str(native.get("name") or ""), ports)

    def _connection(self, wire: Wire) -> dict[str, Any]:
        native: dict[str, Any] = {"from": wire.source, "to": wire.target, "port": wire.port, "into": wire.into}
        native |= {key: wire.extra[key] for key in ("when", "mapping") if wire.extra.get(key) is not None}
        conversion = wire.extra.get("conversion_function")
        if isinstance(conversion, str) and conversion.strip() and not _PASSES_ON.fullmatch(conversion.strip()):
            if conversion.lstrip().startswith(("def ", "lambda", "import ", "async ")):
                message = "Code in connections is not run on this server; write an expression"
                path = f"{wire.path}.conversion_function"
                self._problems.append(Problem(code="CODE_DISABLED", message=message, path=path))
            else:
                native["mapping"] = conversion if "{{" in conversion else f"{{{{ {conversion} }}}}"
        return native

    def _settings(self, settings: Any) -> Any:
        if settings is None:
            settings = {}
        if not isinstance(settings, dict):
            return settings
        for key, value in settings.items():
            if key not in _SETTINGS.used and key not in _SETTINGS.kept:
                problem = Problem(
                    code="KEY_UNKNOWN",
                    message=f"Unknown setting '{key[:64]}'",
                    path=f"settings.{key[:64]}",
                    value=shown(value),
                    hint=self._unknown.hint(key, _SETTINGS),
                )
                self._problems.append(problem)
        if settings.get("budget") is not None:
            message = "A budget needs model calls, which are not available here yet"
            self._problems.append(Problem(code="SETTING_UNAVAILABLE", message=message, path="settings.budget"))
        native = {
            key: value
            for key, value in settings.items()
            if key in ("timeout", "max_parallel", "on_failure", "output", "over_ask") and value is not None
        }
        policy = settings.get("error_policy")
        if isinstance(policy, str):
            native["on_failure"] = _ON_ERROR.get(policy.lower(), policy.lower())
        if self._has_words:
            native.setdefault("max_parallel", MAX_PARALLEL)
        return native

    def _problem(self, code: str, path: str, message: str, node: dict[str, Any]) -> None:
        node_id = node.get("id")
        self._problems.append(
            Problem(code=code, message=message, path=path, node_id=node_id if isinstance(node_id, str) else None)
        )


def _of_other_kind(source: Mapping[str, Any], others: Sequence[str], own: tuple[str, ...]) -> list[Problem]:
    """Parts that belong to a definition of the other kind; empty ones stand in every answer and say nothing."""
    unknown = UnknownKeys()
    unknown.look(Place(""), {key: source[key] for key in others if source.get(key)}, Words(("kind", *own)))
    return unknown.problems
