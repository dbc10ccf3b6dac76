"""What went wrong on the way to another server, in our words: those of the system may hold addresses."""

from __future__ import annotations

from interlock.backends.egress.target import Origin
from interlock.core.errors import ErrorKind, InterlockError

CUT = "closed the connection before its answer was complete"
INCOMPLETE = "gave an incomplete answer"
NOT_HTTP = "gave an answer that is not valid HTTP"
FLOOD = "gave an answer with much more framing than content"
SWITCHED = "switched to another protocol"


def failed(origin: Origin, what: str, *, retryable: bool = False, connected: bool = True) -> InterlockError:
    """The server ``what``; ``connected`` is whether anything can have been sent to it."""
    return InterlockError(
        ErrorKind.EXTERNAL,
        "EXTERNAL_SERVICE_ERROR",
        f"The server {origin.host}:{origin.port} {what}.",
        details={"host": origin.host} | ({} if connected else {"connected": False}),
        retryable=retryable,
    )


def unreadable(what: str) -> InterlockError:
    """A whole answer came, and its body cannot be used."""
    return InterlockError(ErrorKind.EXTERNAL, "EXTERNAL_SERVICE_ERROR", f"The server gave an answer {what}.")
