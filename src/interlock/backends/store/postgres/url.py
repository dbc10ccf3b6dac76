"""Addresses of databases, in the spellings people have them in."""

from __future__ import annotations

import re

from interlock.core.errors import invalid

_SCHEME = re.compile(r"(?:postgres|postgresql)(?:\+\w+)?://")


def plain_url(url: str) -> str:
    """The same address without the driver that other libraries want in it: ``postgresql+asyncpg://`` and its like.

    Raises INVALID for what is no Postgres address; the message never holds the address, which carries a password.
    """
    match = _SCHEME.match(url.strip())
    if match is None:
        scheme = url.partition("://")[0][:40] if "://" in url else "none"
        raise invalid(
            "DATABASE_URL_INVALID",
            f"The database address must begin with postgresql:// (its scheme is {scheme!r}).",
        )
    return "postgresql://" + url.strip()[match.end() :]
