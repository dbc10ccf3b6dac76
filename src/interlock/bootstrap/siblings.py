"""The processes on one port: each tells the others its figures, so that any of them can tell those of all."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from contextlib import AsyncExitStack, suppress
from pathlib import Path

import structlog

from interlock.backends.telemetry.sums import sum_of

ANSWER_SECONDS = 1.0
"""How long a process that does not answer is waited for."""
_MOST_ENDED = 64
"""Of so many processes that have ended the figures are kept."""
_END = b"# EOF\n"
"""The last line of what one tells: a text without it was cut off, and may end in the middle of a figure."""

log = structlog.get_logger("siblings")


class Siblings:
    """One process among those of a folder, which is theirs alone.

    There each has a socket by its process id, and the figures that it told last: those of a process that has died
    still count, because a sum that falls would look like a new beginning.
    """

    def __init__(self, folder: Path, expose: Callable[[], bytes]) -> None:
        self._folder = folder
        self._expose = expose
        self._own = folder / f"{os.getpid()}.sock"

    async def open(self, stack: AsyncExitStack) -> None:
        """Answer the others until ``stack`` ends that. Raises OSError if the folder cannot be used."""
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._own.unlink(missing_ok=True)
        _last(self._own).unlink(missing_ok=True)  # of another process with this number
        server = await asyncio.start_unix_server(self._tell, self._own)
        stack.callback(self._own.unlink, missing_ok=True)
        stack.callback(server.close)

    async def sum_up(self, own: bytes) -> bytes:
        """The figures of all processes, of which ``own`` are this one's. Never raises."""
        others = [place for place in self._folder.glob("*.sock") if place != self._own]
        answers = await asyncio.gather(*map(self._ask, others))
        living = {place: text for place, text in zip(others, answers, strict=True) if text}
        for place, text in living.items():
            self._keep(place, text)
        return sum_of([own, *living.values()], self._ended({_last(place) for place in (self._own, *living)}))

    async def _tell(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            writer.write(self._expose() + _END)
            await writer.drain()
        writer.close()

    async def _ask(self, place: Path) -> bytes:
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                reader, writer = await asyncio.open_unix_connection(place)
                text = _whole(await reader.read())
                writer.close()
            if not text:
                log.warning("siblings.silent", process=place.stem, reason="its answer was cut off")
            return text
        except ConnectionRefusedError:  # it was killed
            place.unlink(missing_ok=True)
        except (OSError, TimeoutError) as error:
            log.warning("siblings.silent", process=place.stem, reason=str(error) or "it did not answer in time")
        return b""

    def _keep(self, place: Path, text: bytes) -> None:
        new = place.with_suffix(f".{os.getpid()}")
        try:
            new.write_bytes(text + _END)
            new.replace(_last(place))
        except OSError as error:
            log.warning("siblings.not_kept", reason=str(error))

    def _ended(self, living: set[Path]) -> list[bytes]:
        """The figures of processes that have ended, as far as they are known."""
        found = sorted(_read(place) for place in self._folder.glob("*.last") if place not in living)
        for _, place, _ in found[:-_MOST_ENDED]:
            place.unlink(missing_ok=True)
        return [text for *_, text in found[-_MOST_ENDED:]]


def _last(place: Path) -> Path:
    return place.with_suffix(".last")


def _read(place: Path) -> tuple[float, Path, bytes]:
    """When a process told its figures last, where they are, and what they are."""
    try:
        return place.stat().st_mtime, place, _whole(place.read_bytes())
    except OSError:  # another process has tidied up
        return 0.0, place, b""


def _whole(text: bytes) -> bytes:
    """What was told, without its end; nothing if it was cut off."""
    return text.removesuffix(_END) if text.endswith(_END) else b""
