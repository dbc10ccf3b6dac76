"""The addresses of the embedded database."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote

PORT = 5432  # only part of the socket's file name: nothing listens on a network port
PASSWORD = re.compile(r"(?<=://)([^:/@]*):[^@]*@")


@dataclass(frozen=True)
class EmbeddedUrls:
    """How to reach a started server. The two URLs carry passwords and are left out of the repr."""

    migrate_url: str = field(repr=False)  # as interlock_owner: owns the database, makes roles, is no superuser
    serve_url: str = field(repr=False)  # as interlock_server: owns nothing, inherits nothing
    socket_dir: Path
    pid: int  # of the postmaster
    reattached: bool  # it was already running, for instance left by a holder that was killed


def socket_url(role: str, password: str, socket_dir: Path, database: str) -> str:
    """A URL over the unix socket in ``socket_dir`` that asyncpg and libpq both open."""
    # sslmode is spelled out, or else PGSSLMODE of the caller would demand TLS from a unix socket.
    place = f"host={quote(str(socket_dir), safe='/')}&port={PORT}&sslmode=disable"
    return f"postgresql://{quote(role)}:{quote(password, safe='')}@/{quote(database)}?{place}"


def masked_url(url: str) -> str:
    """The same URL with its password replaced by ``***``, fit for a terminal or a log."""
    return PASSWORD.sub(r"\1:***@", url)
