"""Makes a database cluster: whole and on disk, or not at all."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from interlock.backends.store.embedded.passwords import sync_directory
from interlock.backends.store.embedded.placement import Placement
from interlock.core.errors import ErrorKind, InterlockError

SUPERUSER = "interlock_super"
HALF = "half-made-"
INITDB_SECONDS = 180.0
BUILTIN_LOCALE_SINCE = 17


async def make_cluster(placement: Placement, password: str) -> None:
    """Initialise the cluster beside its place and move it there at the end; UNAVAILABLE with what initdb said."""
    half = Path(tempfile.mkdtemp(prefix=HALF, dir=placement.home))
    placement.rights.give(half)
    await _initialise(placement, half, _password_file(placement, half, password))
    try:
        (half / "cluster").rename(placement.cluster)
    except OSError as error:
        message = f"{placement.cluster} is in the way of a new database and is none itself; move it elsewhere."
        raise InterlockError(ErrorKind.UNAVAILABLE, "EMBEDDED_POSTGRES_FAILED", message) from error
    sync_directory(placement.home)
    clear_half_made(placement.home)


def clear_half_made(home: Path) -> None:
    """Remove what interrupted tries left."""
    for half in home.glob(f"{HALF}*"):
        # The initdb of a killed server may still be writing there; it fails on its own, and the rest goes next time.
        shutil.rmtree(half, ignore_errors=True)


def _password_file(placement: Placement, half: Path, password: str) -> Path:
    path = half / "password"
    path.touch(mode=0o600)
    path.write_text(password)
    placement.rights.give(path)
    return path


async def _initialise(placement: Placement, half: Path, password_file: Path) -> None:
    # Not --no-sync: a power cut soon after would lose catalog files that no write-ahead log can bring back.
    fixed = (
        *("--pgdata", str(half / "cluster"), "--username", SUPERUSER, "--pwfile", str(password_file)),
        *("--auth-local=scram-sha-256", "--auth-host=reject", "--encoding=UTF8", "--data-checksums"),
        "--no-instructions",
    )
    initdb = placement.binaries.program("initdb")
    for locale in _locales(placement.binaries.major):
        finished = await placement.rights.run(half, initdb, *fixed, *locale, within=INITDB_SECONDS)
        if finished.status == 0:
            return
        if "locale" not in finished.complaint:
            break
    message = f"initdb could not make a database in {placement.home}: {finished.complaint}"
    raise InterlockError(ErrorKind.UNAVAILABLE, "EMBEDDED_POSTGRES_FAILED", message)


def _locales(major: int) -> list[list[str]]:
    """What to try in turn: not every system knows C.UTF-8, and byte order is the same in all of them."""
    if major >= BUILTIN_LOCALE_SINCE:
        builtin = ["--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
        return [[*builtin, "--locale=C.UTF-8"], [*builtin, "--locale=C"]]
    return [["--locale=C.UTF-8"], ["--locale=C"]]
