"""Faults of the database as the caller's error."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import TypeVar

import structlog

from interlock.core.errors import InterlockError, unavailable

T = TypeVar("T")
log = structlog.get_logger("faults")


async def guarded(call: Awaitable[T]) -> T:
    """The result of a call to the database. Raises UNAVAILABLE for whatever the driver raises."""
    try:
        return await call
    except InterlockError:
        raise
    except Exception as error:
        log.warning("database.fault", reason=f"{type(error).__name__}: {error}"[:300])
        raise unavailable("The database does not answer; try again") from error
