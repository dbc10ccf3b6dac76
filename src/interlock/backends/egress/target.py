"""What may be asked for: the syntax of URL, method and headers, checked before anything is resolved or sent."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple, NoReturn

from yarl import URL

from interlock.core.errors import ErrorKind, InterlockError
from interlock.core.public_hosts import AUTHORITY, address_of
from interlock.ports.egress import OWN_HEADERS

_MAX_URL = 8192  # characters
_BEGINNING = re.compile(r"https?://(?P<authority>[^/?#]+)", re.IGNORECASE)
_NOT_IN_URL = re.compile(r"[\x00-\x20\x7f-\xa0\\\u2028\u2029\ud800-\udfff]")
_SECRET_PARTS = re.compile(r"(?<=//)[^/?#]*@|[?#].*", re.DOTALL)
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_NOT_IN_HEADER = re.compile(r"[\x00-\x08\x0a-\x1f\x7f\ud800-\udfff]")
_METHODS = frozenset(("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"))


class Origin(NamedTuple):
    """A server: what is connected to. ``host`` is a name in its ASCII form, or an address."""

    is_secure: bool
    host: str
    port: int
    is_address: bool


@dataclass(frozen=True, slots=True)
class Target:
    """A URL that was read once: what is checked here is what is connected to later."""

    url: URL
    origin: Origin


def blocked(reason: str, **details: str) -> InterlockError:
    """The call is not made: policy or syntax forbid it."""
    return InterlockError(ErrorKind.DENIED, "EGRESS_BLOCKED", reason, details=dict(details))


def blocked_host(host: str) -> InterlockError:
    """The call is not made: its host is not public. Which address it has is not told."""
    return blocked(
        f"The host {host!r} may not be called: it is not a public address. "
        "The operator can allow its network with the setting INTERLOCK_EGRESS_ALLOW.",
        host=host,
    )


def parse_target(url: str) -> Target:
    """Read ``url``: http or https, a plain host, any port but 0, no user information. Else raises EGRESS_BLOCKED."""
    if len(url) > _MAX_URL:
        raise blocked(f"The URL has {len(url)} characters, at most {_MAX_URL} are allowed.")
    if _NOT_IN_URL.search(url):
        _refuse(url, "it contains white space, a control character or a backslash")
    beginning = _BEGINNING.match(url)
    if beginning is None:
        _refuse(url, "it must begin with http:// or https:// and a host")
    if "@" in beginning["authority"]:
        _refuse(url, "a user name or password in it is not allowed; send a header instead")
    authority = AUTHORITY.fullmatch(beginning["authority"])
    try:
        parsed = URL(url)
    except ValueError:
        parsed = URL()
    if authority is None or not parsed.raw_host or not parsed.port:
        _refuse(url, "its host or port cannot be read")
    is_address = _is_address(url, parsed.raw_host, in_brackets=authority["host"].startswith("["))
    return Target(parsed, Origin(parsed.scheme == "https", parsed.raw_host, parsed.port, is_address))


def check_method(method: str) -> str:
    """Return ``method`` in capitals; raises EGRESS_BLOCKED for others than the usual seven."""
    if method.upper() not in _METHODS:
        raise blocked(f"The method {method[:40]!r} may not be used; use one of {', '.join(sorted(_METHODS))}.")
    return method.upper()


def check_headers(headers: Iterable[tuple[str, str]]) -> None:
    """Raise EGRESS_BLOCKED for a header that could end early, smuggle another or change the framing."""
    for name, value in headers:
        if not _TOKEN.fullmatch(name) or _NOT_IN_HEADER.search(value):
            raise blocked(f"The header {name[:80]!r} contains characters that headers cannot hold.")
        if name.lower() in OWN_HEADERS:
            raise blocked(f"The header {name!r} is set by the client itself; leave it out.")


def _is_address(url: str, host: str, *, in_brackets: bool) -> bool:
    """Tell an address from a name; refuse what is neither, or would be read differently by others."""
    try:
        return address_of(f"[{host}]" if in_brackets else host) is not None
    except ValueError:
        _refuse(url, "its host is neither a name nor an address in the usual form")


def _refuse(url: str, reason: str) -> NoReturn:
    shown = _SECRET_PARTS.sub("", url)[:200]
    raise blocked(f"The URL {shown!r} may not be called: {reason}.")
