"""A request that two servers could read as two requests is none, over real sockets."""

from __future__ import annotations

import json

import pytest

from wire_house import GET, Served

SECOND = b"GET /second HTTP/1.1\r\nHost: h\r\n\r\n"
POST = b"POST /x HTTP/1.1\r\nHost: h\r\n"
AMBIGUOUS = {
    "length and chunked": POST + b"Content-Length: 6\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nG",
    "chunked and length": POST + b"Transfer-Encoding: chunked\r\nContent-Length: 6\r\n\r\n0\r\n\r\nG",
    "two lengths": POST + b"Content-Length: 0\r\nContent-Length: 40\r\n\r\n",
    "two equal lengths": POST + b"Content-Length: 1\r\nContent-Length: 1\r\n\r\nx",
    "a list of lengths": POST + b"Content-Length: 1, 1\r\n\r\nx",
    "a signed length": POST + b"Content-Length: +1\r\n\r\nx",
    "a hexadecimal length": POST + b"Content-Length: 0x1\r\n\r\nx",
    "a negative length": POST + b"Content-Length: -1\r\n\r\n",
    "an endless length": POST + b"Content-Length: 99999999999999999999\r\n\r\n",
    "another coding": POST + b"Transfer-Encoding: xchunked\r\n\r\n",
    "chunked, then identity": POST + b"Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n",
    "chunked twice": POST + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n",
    "space before the colon": POST + b"Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
    "a folded header": POST + b"X: a\r\n Transfer-Encoding: chunked\r\n\r\n",
    "a leading space": b"POST /x HTTP/1.1\r\n Host: h\r\nX: y\r\n\r\n",
    "a bare line feed": b"POST /x HTTP/1.1\nHost: h\nContent-Length: 0\n\n",
    "a line feed among headers": b"GET /x HTTP/1.1\r\nHost: h\nX: a\r\n\r\n",
    "a bare carriage return": b"GET /x HTTP/1.1\r\nHost: h\rX: a\r\n\r\n",
    "NUL in a header": b"GET /x HTTP/1.1\r\nHost: h\r\nX: a\x00b\r\n\r\n",
    "NUL in a name": b"GET /x HTTP/1.1\r\nHost: h\r\nX\x00: a\r\n\r\n",
    "a control character": b"GET /x HTTP/1.1\r\nHost: h\r\nX: a\x01b\r\n\r\n",
    "two hosts": b"GET /x HTTP/1.1\r\nHost: h\r\nHost: evil\r\n\r\n",
    "no host": b"GET /x HTTP/1.1\r\n\r\n",
    "another host in the target": b"GET http://evil/x HTTP/1.1\r\nHost: h\r\n\r\n",
    "a target that is no path": b"GET x HTTP/1.1\r\nHost: h\r\n\r\n",
    "a target with a user": b"GET @evil/x HTTP/1.1\r\nHost: h\r\n\r\n",
    "the server itself": b"GET * HTTP/1.1\r\nHost: h\r\n\r\n",
    "a tunnel": b"CONNECT h:443 HTTP/1.1\r\nHost: h\r\n\r\n",
    "bytes in the target": b"GET /\xff\xfe HTTP/1.1\r\nHost: h\r\n\r\n",
    "a version of its own": b"GET /x HTTP/1.2\r\nHost: h\r\n\r\n",
    "HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "HTTP/0.9": b"GET /x\r\n\r\n",
    "a bad chunk size": POST + b"Transfer-Encoding: chunked\r\n\r\nxyz\r\n",
    "a huge chunk size": POST + b"Transfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\n",
    "a chunk without its end": POST + b"Transfer-Encoding: chunked\r\n\r\n1\r\nab\r\n0\r\n\r\n",
    "a chunk size with a line feed": POST + b"Transfer-Encoding: chunked\r\n\r\n1\na\r\n0\r\n\r\n",
    "TLS": bytes.fromhex("16030100c4010000c00303") + b"x" * 50,
    "noise": bytes(range(256)) * 4,
}


@pytest.mark.parametrize("name", AMBIGUOUS)
async def test_a_request_with_two_meanings_has_none(served: Served, name: str) -> None:
    client = await served.connect()
    client.send(AMBIGUOUS[name] + SECOND)
    told = await client.rest()
    assert told.startswith(b"HTTP/1.1 400 "), told[:200]
    assert told.count(b"HTTP/1.1 ") == 1
    assert b"connection: close" in told
    assert json.loads(told.partition(b"\r\n\r\n")[2])["code"] == "INVALID_REQUEST"
    assert ("GET", "/second") not in served.app.seen
    assert client.lasted < 5


async def test_ordinary_requests_of_every_form_are_answered(served: Served) -> None:
    for request in (
        GET,
        b"GET /x HTTP/1.0\r\n\r\n",
        b"GET http://h/x HTTP/1.1\r\nHost: h\r\n\r\n",
        b"OPTIONS * HTTP/1.1\r\nHost: h\r\n\r\n",
        b"POST /x HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n1;a=b\r\nx\r\n0\r\n\r\n",
        b"POST /unread HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabc",
        b"POST /x HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 0\r\n\r\n",
        b"\r\n\r\n" + GET,
    ):
        client = await served.connect()
        client.send(request)
        told = await client._reader.readuntil(b"\r\n\r\n")
        assert told.startswith((b"HTTP/1.1 200 ", b"HTTP/1.1 100 ")), (request, told)
        client.close()


async def test_nonsense_behind_a_request_never_mixes_with_its_answer(served: Served) -> None:
    client = await served.connect()
    client.send(b"GET /stream HTTP/1.1\r\nHost: h\r\n\r\n")
    await client._reader.readuntil(b"tick\n")
    client.send(b"\x00nonsense\r\n\r\n")
    client.send(b"more of it" * 10)
    told = await client.rest()
    assert b"HTTP/1.1" not in told
    assert told.endswith(b"end\n\r\n0\r\n\r\n"), "the answer that was under way is whole"
