"""Processes on one port tell each other their figures, and believe only what was told to its end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest

from interlock.backends.telemetry.prometheus import PrometheusTelemetry
from interlock.bootstrap.siblings import Siblings

OWN = PrometheusTelemetry("1.0").expose()


def figures(times: int = 12) -> bytes:
    """What a process tells that has answered so many requests."""
    telemetry = PrometheusTelemetry("1.0")
    for _ in range(times):
        telemetry.request_ended("/a", "GET", 200, 0.1)
    return telemetry.expose()


def answered(text: bytes) -> list[str]:
    return [line for line in text.decode().splitlines() if line.startswith("interlock_http_requests_total{")]


@asynccontextmanager
async def telling(place: Path, text: bytes) -> AsyncIterator[None]:
    """A process that tells this and no more."""

    async def tell(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(text)
        await writer.drain()
        writer.close()

    server = await asyncio.start_unix_server(tell, place)
    yield
    server.close()


@pytest.fixture
async def whole(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """All that a sibling tells who has answered twelve requests."""
    folder = tmp_path_factory.mktemp("other")
    async with AsyncExitStack() as stack:
        await Siblings(folder, figures).open(stack)
        (place,) = folder.glob("*.sock")
        reader, writer = await asyncio.open_unix_connection(place)
        stack.callback(writer.close)
        return await reader.read()


async def test_what_a_sibling_tells_counts_also_when_it_has_ended(tmp_path: Path, whole: bytes) -> None:
    siblings = Siblings(tmp_path, lambda: OWN)
    async with telling(tmp_path / "1.sock", whole):
        (line,) = answered(await siblings.sum_up(OWN))
    (tmp_path / "1.sock").unlink(missing_ok=True)
    assert line.endswith(" 12.0")
    assert answered(await siblings.sum_up(OWN)) == [line]


@pytest.mark.parametrize("end", [b"", b"# HELP interlock_ht", b"_requests_tot", b" 1", b"#"])
async def test_figures_that_are_cut_off_count_nowhere(tmp_path: Path, whole: bytes, end: bytes) -> None:
    cut = whole[: whole.rindex(end) + len(end)] if end else b""
    siblings = Siblings(tmp_path, lambda: OWN)
    async with telling(tmp_path / "1.sock", cut):
        assert await siblings.sum_up(OWN) == OWN
    assert await siblings.sum_up(OWN) == OWN, "nothing of it was kept"
    (tmp_path / "1.last").write_bytes(cut)
    assert await siblings.sum_up(OWN) == OWN


async def test_what_another_process_tidies_up_meanwhile_is_not_missed(tmp_path: Path, whole: bytes) -> None:
    (tmp_path / "1.last").write_bytes(whole)
    (tmp_path / "2.last").symlink_to(tmp_path / "gone")  # seen in the folder, and no longer there when it is read
    (line,) = answered(await Siblings(tmp_path, lambda: OWN).sum_up(OWN))
    assert line.endswith(" 12.0")
