"""The route table: every operation under every prefix of its door, found by its segments in one walk."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from starlette.datastructures import URLPath
from starlette.routing import BaseRoute, Match, NoMatchFound
from starlette.types import Receive, Scope, Send

from interlock.core.errors import ErrorKind, InterlockError, not_found
from interlock.doors.http.plumbing.operation import Door, Operation, Policy
from interlock.doors.http.plumbing.pipeline import Pipeline
from interlock.doors.http.plumbing.replies import EmptyReply
from interlock.doors.http.plumbing.trace import EXCHANGE, Exchange

_WITHOUT_SCOPE = frozenset({Policy.OPEN, Policy.OPTIONAL, Policy.PROOF})


class RouteError(Exception):
    """The operations contradict each other or say too little; the server must not start."""


class _Segment:
    """One place in the tree of paths: where each next segment leads, and what answers here."""

    __slots__ = ("by_method", "by_name", "parameter", "takes_rest")

    def __init__(self) -> None:
        self.by_name: dict[str, _Segment] = {}
        self.parameter: _Segment | None = None
        self.takes_rest = False
        self.by_method: dict[str, tuple[Operation, tuple[str, ...]]] = {}


class RouteTable(BaseRoute):
    """All operations of a server as one Starlette route.

    Fixed segments win over parameters. A path answers with and without a slash at its end; nothing is redirected.
    Raises RouteError for an operation without a policy, a user operation without a scope, or a second claim to
    the same method and path.
    """

    def __init__(self, operations: Iterable[Operation], pipeline: Pipeline) -> None:
        self.operations = tuple(operations)
        self._pipeline = pipeline
        self._owners = {beginning: found.door for found in self.operations for beginning in found.door.owns}
        self._root = _Segment()
        for operation in self.operations:
            require_policy(operation)
            for path in operation.paths():
                self._add(operation, path)

    def _add(self, operation: Operation, path: str) -> None:
        place = self._root
        names: list[str] = []
        for segment in _split(path):
            if segment.startswith("{"):
                names.append(segment[1:-1])
                place.parameter = place = place.parameter or _Segment()
            else:
                place = place.by_name.setdefault(segment, _Segment())
        taken = place.by_method.get(operation.method)
        if taken is not None:
            raise RouteError(f"{operation.method} {path} is claimed by {taken[0].door.name} and {operation.door.name}")
        place.by_method[operation.method] = (operation, tuple(names))
        place.takes_rest |= operation.takes_rest

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        """Always a match: what no operation answers is answered 404 or 405 here, for everybody alike."""
        if scope["type"] != "http":
            return Match.NONE, {}
        place, values = self._find(scope["path"])
        if place is not None and place.takes_rest and not _is_whole(scope, values[-1]):
            place = None
        return Match.FULL, {"interlock.place": place, "interlock.values": values}

    def _find(self, path: str) -> tuple[_Segment | None, list[str]]:
        place: _Segment | None = self._root
        values: list[str] = []
        for segment in _split(path):
            if place is None:
                return None, values
            following = place.by_name.get(segment)
            if following is None and place.takes_rest:
                following = place
                values[-1] += "/" + segment
            elif following is None and segment:
                following = place.parameter
                values.append(segment)
            place = following
        return (place if place is not None and place.by_method else None), values

    def methods_at(self, path: str) -> list[str]:
        """What can be asked for at a path; nothing where no operation is."""
        place, _ = self._find(path)
        return _allowed(place) if place is not None else []

    def operation_at(self, method: str, path: str) -> Operation | None:
        """What answers exactly this method at a path."""
        place, _ = self._find(path)
        found = place.by_method.get(method) if place is not None else None
        return found[0] if found is not None else None

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Run the operation at this place, or say why there is none."""
        place: _Segment | None = scope["interlock.place"]
        if place is None:
            error = not_found("NOT_FOUND", "There is nothing at this path; /openapi.json lists what there is")
            await self._pipeline.refuse(error, 404, (), scope, receive, send, self._owner(scope["path"]))
            return
        method: str = scope["method"]
        found = place.by_method.get("GET" if method == "HEAD" else method)
        if found is None or (method == "HEAD" and found[0].is_stream):
            await self._without_operation(place, method, scope, receive, send)
            return
        operation, names = found
        path = dict(zip(names, scope["interlock.values"], strict=True)) if names else {}
        await self._pipeline.run(operation, path, scope, receive, send)

    def _owner(self, path: str) -> Door | None:
        """The door that answers where nothing is, if the path is one's own."""
        return next((door for beginning, door in self._owners.items() if path.startswith(beginning)), None)

    async def _without_operation(
        self, place: _Segment, method: str, scope: Scope, receive: Receive, send: Send
    ) -> None:
        allow = (b"allow", ", ".join(_allowed(place)).encode())
        exchange: Exchange = scope[EXCHANGE]
        operation = next(iter(place.by_method.values()))[0]
        exchange.route = operation.route
        if method == "OPTIONS":
            await EmptyReply(204, (allow,))(scope, receive, send)
            return
        message = f"{method[:16]} is not possible here; use {allow[1].decode()}"
        error = InterlockError(ErrorKind.INVALID, "METHOD_NOT_ALLOWED", message)
        door = operation.door if operation.door.answers_misses else None
        await self._pipeline.refuse(error, 405, (allow,), scope, receive, send, door)

    def url_path_for(self, name: str, /, **path_params: Any) -> URLPath:
        raise NoMatchFound(name, path_params)


def _split(path: str) -> list[str]:
    """The segments of a path, without the empty one behind a slash at its end."""
    segments = path[1:].split("/")
    if segments[-1] == "":
        segments.pop()
    return segments


def _is_whole(scope: Scope, value: str) -> bool:
    """Whether the slashes in the last value of a path were written as ``%2F``, so that they part no segments."""
    slashes = value.count("/")
    written = str(scope.get("raw_path") or b"", "latin-1")
    return not slashes or len(_split(written)) == len(_split(scope["path"])) - slashes


def _allowed(place: _Segment) -> list[str]:
    methods = set(place.by_method)
    if "GET" in methods and not place.by_method["GET"][0].is_stream:
        methods.add("HEAD")
    return sorted({*methods, "OPTIONS"})


def require_policy(operation: Operation) -> None:
    """Raise RouteError for an operation that does not say who may call it."""
    if operation.policy is None:
        raise RouteError(f"{operation.method} {operation.route} declares no policy")
    if operation.policy not in _WITHOUT_SCOPE and operation.scope is None:
        raise RouteError(f"{operation.method} {operation.route} is for callers and declares no scope")


def route_lines(operations: Iterable[Operation]) -> list[str]:
    """The reviewed table: one line of method, path, door, policy and scope for every route, in order of paths."""
    rows = sorted(
        (path, operation.method, operation.door.name, str(operation.policy), operation.scope or "-")
        for operation in operations
        for path in operation.paths()
    )
    return [f"{method:6} {path:70} {door:8} {policy:9} {scope}" for path, method, door, policy, scope in rows]
