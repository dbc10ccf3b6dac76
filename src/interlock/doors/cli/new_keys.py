"""What somebody says of a new key on the command line, and keys that are given to servers by their settings."""

from __future__ import annotations

import hashlib
import re
import secrets
from datetime import UTC, datetime, timedelta
from typing import Any

from interlock.core.api_key import WORDS, make_key
from interlock.core.principal import Scope, Tier
from interlock.doors.cli.failures import WrongUseError
from interlock.kit.instants import rfc3339

MOST_DAYS = 9999
_DAYS = re.compile(r"([1-9][0-9]{0,3})d")


def read_name(argument: str, option: str) -> str:
    """Who will use the key, said as an argument or as an option. Raises WrongUseError for neither, or for two."""
    if bool(argument) == bool(option):
        raise WrongUseError("Name who will use the key, once.", step="See `interlock keys create --help`.")
    return argument or option


def read_end(expires: str, days: int | None, now: datetime) -> str | None:
    """When the key ends, RFC 3339; None for never. A day is its first moment in UTC. Raises WrongUseError."""
    if not expires:
        return None if days is None else rfc3339(now + timedelta(days=days))
    if days is not None:
        raise WrongUseError("Say the end of the key once, with --expires or with --days.")
    in_days = _DAYS.fullmatch(expires)
    if in_days is not None:
        return rfc3339(now + timedelta(days=int(in_days[1])))
    try:
        found = datetime.fromisoformat(expires)
        return rfc3339(found if found.tzinfo is not None else found.replace(tzinfo=UTC))
    except (ValueError, OverflowError) as error:
        raise WrongUseError(f"--expires: {expires!r} is no time; write it like 2027-01-31 or 90d") from error


def record_of(wishes: dict[str, Any], tenant: str, profile: str, *, signing: bool) -> tuple[str, dict[str, Any]]:
    """A new key and what the setting MCP_API_KEYS says of it: its hash, and never the key.

    Raises WrongUseError for what servers would not take from their settings.
    """
    if signing:
        raise WrongUseError("A key of the settings cannot sign; make one that signs without --config.")
    unknown = sorted(set(wishes["scopes"]) - set(Scope))
    if unknown:
        raise WrongUseError(f"There is no scope {unknown[0]!r}; there are {', '.join(Scope)}.")
    if wishes["rate_limit_tier"] not in set(Tier):
        raise WrongUseError(f"There is no tier {wishes['rate_limit_tier']!r}; there are {', '.join(Tier)}.")
    key, public_id = make_key(WORDS[profile], secrets.choice)
    digest = hashlib.sha256(key.encode()).hexdigest()
    about = {name: value for name, value in wishes.items() if value is not None}
    return key, {public_id: {"key_hash": f"sha256:{digest}", **about, "tenant_id": tenant}}
