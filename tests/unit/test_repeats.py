"""A head that was refused is known again for as long as it may be, if it says alone how long a request is."""

from __future__ import annotations

import pytest

from interlock.doors.http.plumbing import repeats as module
from interlock.doors.http.plumbing.repeats import LONGEST, Repeats

LINES = b"POST /x HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\n"
HEADERS = [(b"host", b"h"), (b"content-length", b"2")]


def kept(head: bytes = LINES, headers: list[tuple[bytes, bytes]] = HEADERS, until: float = 10.0) -> Repeats[str]:
    repeats: Repeats[str] = Repeats()
    repeats.keep("1.2.3.4", head + b"{}", headers, "refused", until, has_key=False)
    return repeats


def test_a_whole_request_with_the_same_head_is_found_whatever_its_body() -> None:
    found = kept().find("1.2.3.4", LINES + b"[]", 9.9)
    assert found is not None
    assert (found.what, found.size, found.has_key) == ("refused", 2, False)


@pytest.mark.parametrize(
    ("address", "data", "now"),
    [
        ("1.2.3.5", LINES + b"{}", 0.0),
        ("1.2.3.4", LINES + b"{}", 10.0),
        ("1.2.3.4", LINES + b"{", 0.0),
        ("1.2.3.4", LINES + b"{} ", 0.0),
        ("1.2.3.4", LINES + b"{}" + LINES + b"{}", 0.0),
        ("1.2.3.4", LINES[:-2], 0.0),
        ("1.2.3.4", LINES.replace(b"Host: h", b"Host: g") + b"{}", 0.0),
        ("1.2.3.4", b"", 0.0),
    ],
)
def test_nothing_else_is_found(address: str, data: bytes, now: float) -> None:
    assert kept().find(address, data, now) is None


@pytest.mark.parametrize(
    ("more", "header"),
    [
        (b"Transfer-Encoding: chunked\r\n", (b"transfer-encoding", b"chunked")),
        (b"Expect: 100-continue\r\n", (b"expect", b"100-continue")),
        (b"Upgrade: h2c\r\n", (b"upgrade", b"h2c")),
        (b"Content-Length: 2\r\n", (b"content-length", b"2")),
        (b"X: a\r\n b\r\n", (b"x", b"a b")),
        (b"X: a\n", (b"x", b"a")),
        (b"X: " + b"a" * LONGEST + b"\r\n", (b"x", b"a" * LONGEST)),
    ],
)
def test_a_head_that_does_not_say_all_is_not_kept(more: bytes, header: tuple[bytes, bytes]) -> None:
    head = LINES[:-2] + more + b"\r\n"
    assert kept(head, [*HEADERS, header]).find("1.2.3.4", head + b"{}", 0.0) is None


@pytest.mark.parametrize("size", [b"", b"-1", b"+2", b"2,2", b"0x2"])
def test_a_length_that_is_no_number_is_not_kept(size: bytes) -> None:
    head = LINES.replace(b"Length: 2", b"Length: " + size)
    assert kept(head, [HEADERS[0], (b"content-length", size)]).find("1.2.3.4", head + b"{}", 0.0) is None


def test_the_oldest_gives_way_and_what_is_over_is_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST", 2)
    repeats: Repeats[int] = Repeats()
    heads = [LINES.replace(b"/x", b"/%d" % number) for number in range(4)]
    for number, head in enumerate(heads):
        repeats.keep("", head, HEADERS, number, 10.0 + number, has_key=False)
    found = [repeats.find("", head + b"{}", 0.0) for head in heads]
    assert [each and each.what for each in found] == [None, None, 2, 3]
    repeats.find("", heads[3] + b"{}", 12.5)
    assert repeats.find("", heads[2] + b"{}", 0.0) is None
