"""A request as it goes over the wire."""

from __future__ import annotations

from dataclasses import dataclass

from interlock.backends.egress.target import Target, check_headers, check_method

_OURS = (("Accept", "*/*"), ("User-Agent", "interlock"))
"""Unless the caller says otherwise."""
_WITH_BODY = frozenset(("POST", "PUT", "PATCH"))
_DEFAULT_PORTS = {True: 443, False: 80}


@dataclass(frozen=True, slots=True)
class Request:
    """Whom to ask for what. ``headers`` are the caller's; ``head`` lacks nothing but the length of the body."""

    method: str
    target: Target
    headers: tuple[tuple[str, str], ...]
    head: bytes

    def with_header(self, name: str, value: str) -> Request:
        """The same request with one header more. Raises EGRESS_BLOCKED for what would bend it."""
        header = (name, value)
        check_headers((header,))
        return Request(self.method, self.target, (*self.headers, header), self.head + f"{name}: {value}\r\n".encode())

    def message(self, body: bytes | None) -> bytes:
        """All bytes of it."""
        if body is None and self.method not in _WITH_BODY:
            return self.head + b"\r\n"
        body = body or b""
        return b"%bContent-Length: %d\r\n\r\n%b" % (self.head, len(body), body)


def prepare(method: str, target: Target, headers: tuple[tuple[str, str], ...]) -> Request:
    """The request with the caller's headers and ours. Raises EGRESS_BLOCKED for what would bend it."""
    method = check_method(method)
    check_headers(headers)
    given = {name.lower() for name, _ in headers}
    lines = [f"{method} {target.url.raw_path_qs} HTTP/1.1", f"Host: {_host(target)}", "Accept-Encoding: identity"]
    lines += [f"{name}: {value}" for name, value in headers if name.lower() != "accept-encoding"]
    lines += [f"{name}: {value}" for name, value in _OURS if name.lower() not in given]
    return Request(method, target, headers, "".join(f"{line}\r\n" for line in lines).encode())


def _host(target: Target) -> str:
    origin = target.origin
    name = f"[{origin.host}]" if ":" in origin.host else origin.host
    return name if origin.port == _DEFAULT_PORTS[origin.is_secure] else f"{name}:{origin.port}"
