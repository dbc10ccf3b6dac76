"""The reliability suite is trusted only as far as its own parts are."""

from __future__ import annotations

import asyncio
import re
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from pathlib import Path

import msgspec
import pytest

from crash.effects import Effect, Effects
from crash.faultproxy import FaultProxy, tcp
from crash.figures import BEGIN, END, write_figures
from crash.mutants import MUTANTS, ROOT, judge
from crash.process import Process, ProcessError, python
from crash.program import describe
from crash.stage import Stuck
from crash.together import all_of
from crash.verdict import Verdict, percentile


def verdict(**fields: object) -> Verdict:
    return msgspec.convert({"scenario": "X1", "title": "a test", "seed": 7, "scale": "short", **fields}, Verdict)


def test_without_proof_a_verdict_is_invalid_even_if_everything_held() -> None:
    found = verdict()
    found.expect("it held", True)
    assert found.word == "INVALID"
    found.prove("it hit", False)
    assert found.word == "INVALID"


def test_a_broken_promise_counts_more_than_a_missing_proof() -> None:
    found = verdict()
    found.expect_none("nothing is lost", ["execution 1"])
    found.prove("it hit", False)
    assert found.word == "FAIL"
    assert found.failures()[0].seen == "1: execution 1"


def test_a_verdict_passes_when_everything_held_and_the_faults_hit() -> None:
    found = verdict()
    found.expect_none("nothing is lost", [])
    found.prove("it hit", True, 3)
    assert found.word == "PASS"


@pytest.mark.parametrize(("share", "wanted"), [(0.5, 2.0), (0.95, 4.0), (0.25, 1.0), (1.0, 4.0)])
def test_a_percentile_is_a_value_that_enough_others_do_not_exceed(share: float, wanted: float) -> None:
    assert percentile([4.0, 1.0, 3.0, 2.0], share) == wanted


def test_a_percentile_of_nothing_is_nothing() -> None:
    assert percentile([], 0.95) == 0.0


def test_figures_replace_only_what_stands_between_the_markers(tmp_path: Path) -> None:
    page = tmp_path / "reliability.md"
    page.write_text(f"before\n{BEGIN}\nold\n{END}\nafter\n")
    write_figures(page, [verdict(figures={"drain_s": 1.5})])
    text = page.read_text()
    assert text.startswith(f"before\n{BEGIN}\n")
    assert text.endswith(f"{END}\nafter\n")
    assert "old" not in text
    assert "drain s 1.5" in text


def test_figures_refuse_a_page_without_markers(tmp_path: Path) -> None:
    page = tmp_path / "reliability.md"
    page.write_text("no markers\n")
    with pytest.raises(ValueError, match="no markers"):
        write_figures(page, [verdict()])


@pytest.mark.parametrize("name", MUTANTS)
def test_every_planted_bug_can_still_be_planted(name: str) -> None:
    mutant = MUTANTS[name]
    assert re.search(mutant.pattern, (ROOT / "src" / "interlock" / mutant.file).read_text())


@pytest.mark.parametrize(
    ("found", "word"),
    [
        (verdict(proofs=[{"name": "it hit", "is_ok": True, "seen": ""}]), "SURVIVED"),
        (verdict(checks=[{"name": "nothing is lost", "is_ok": False, "seen": "1"}]), "caught"),
        (verdict(error="stuck: every execution ends: not after 30 s"), "caught"),
        (verdict(error="ProcessError: one ended without 'ready'"), "UNCLEAR"),
        (verdict(), "UNCLEAR"),
    ],
)
def test_a_planted_bug_counts_as_caught_only_if_a_promise_was_seen_broken(found: Verdict, word: str) -> None:
    assert judge(msgspec.json.decode(found.to_json()))[0] == word


def test_what_broke_off_part_of_a_scenario_is_named_and_not_its_group() -> None:
    group = ExceptionGroup("several", [ExceptionGroup("inner", [Stuck("nothing moved")]), ValueError("late")])
    assert describe(group) == "stuck: nothing moved"
    assert describe(ValueError("late")) == "ValueError: late"


async def test_when_one_part_fails_the_others_are_over_before_anybody_hears_of_it() -> None:
    ended: list[str] = []

    async def wait() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.append("waiting")

    async def fail() -> None:
        await asyncio.sleep(0)
        raise Stuck("nothing moved")

    with pytest.raises(Stuck):
        await all_of(wait(), fail())
    assert ended == ["waiting"]


def effect(step: str, key: str) -> Effect:
    return Effect("e", step, key, "", 0.0, None, None)


def test_attempts_with_different_keys_and_keys_of_different_steps_are_found() -> None:
    found = Effects([effect("a", "1"), effect("a", "1"), effect("b", "2"), effect("b", "3"), effect("c", "1")])
    assert found.with_several_keys() == ["e/b"]
    assert found.shared_keys() == ["1"]
    assert found.repeats() == 2
    assert found.attempts() == {1: 1, 2: 2}


def test_an_effect_without_a_key_is_found() -> None:
    assert Effects([effect("a", "")]).with_several_keys() == ["e/a"]


@asynccontextmanager
async def echoing() -> AsyncIterator[tuple[FaultProxy, list[bytes]]]:
    """A server that answers what it is told, behind a proxy; and what reached it."""
    heard: list[bytes] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(1000):
            heard.append(data)
            writer.write(data)
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    proxy = FaultProxy(tcp(server.sockets[0].getsockname()[1]))
    await proxy.start()
    try:
        yield proxy, heard
    finally:
        await proxy.stop()
        server.close()


async def ask(proxy: FaultProxy, *pieces: bytes) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
    try:
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(0)
        return await reader.readexactly(len(b"".join(pieces)))
    finally:
        writer.close()


async def test_the_proxy_passes_everything_on_that_it_is_not_told_to_hurt() -> None:
    async with echoing() as (proxy, _):
        assert await ask(proxy, b"hello") == b"hello"
        assert proxy.resets == 0


async def test_the_proxy_loses_one_answer_after_the_request_has_arrived() -> None:
    async with echoing() as (proxy, heard):
        loss = proxy.lose_answer(b"token")
        with pytest.raises((ConnectionResetError, asyncio.IncompleteReadError)):
            await ask(proxy, b"a to", b"ken in two pieces")
        await asyncio.wait_for(loss.done.wait(), 5)
        assert loss.swallowed > 0
        assert b"".join(heard) == b"a token in two pieces"
        assert await ask(proxy, b"the token again") == b"the token again"


async def test_the_proxy_keeps_answers_back_until_it_is_told_to_let_them_go() -> None:
    async with echoing() as (proxy, heard):
        proxy.holds_answers = True
        asking = asyncio.create_task(ask(proxy, b"hello"))
        done, _ = await asyncio.wait([asking], timeout=0.2)
        assert not done
        assert heard == [b"hello"]
        proxy.holds_answers = False
        assert await asyncio.wait_for(asking, 5) == b"hello"


async def test_the_sink_has_an_effect_on_disk_before_it_answers(tmp_path: Path) -> None:
    sink = Process("sink", tmp_path / "sink.log")
    await sink.launch(python("crash.sink", str(tmp_path / "sink.db")), {})
    port = int(await sink.expect("ready", 20))
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"POST /effect/e/s1?delay=60 HTTP/1.1\r\nHost: x\r\nIdempotency-Key: k\r\nContent-Length: 0\r\n\r\n")

    async def is_there() -> list[tuple[str, str]]:
        while True:
            with closing(sqlite3.connect(f"file:{tmp_path / 'sink.db'}?mode=ro", uri=True)) as connection:
                if rows := connection.execute("select step, key from effects").fetchall():
                    return rows
            await asyncio.sleep(0.01)

    assert await asyncio.wait_for(is_there(), 10) == [("s1", "k")]
    await sink.kill()  # it never answered, and yet the effect is known
    assert await asyncio.wait_for(reader.read(100), 5) == b""
    writer.close()
    assert [call.key for call in Effects.read(tmp_path / "sink.db").all] == ["k"]


async def test_a_program_that_ends_without_a_word_is_reported_with_its_log(tmp_path: Path) -> None:
    program = Process("silent", tmp_path / "log")
    await program.launch(python("crash.sink"), {})
    with pytest.raises(ProcessError, match="IndexError"):
        await program.expect("ready", 20)
