"""The bucket of blobs: signatures, both ways to name a bucket, what is tried again, and what is said of refusals."""

from __future__ import annotations

import asyncio
import hashlib
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

import pytest
from structlog.testing import capture_logs

from interlock.backends.blobs.s3 import calls
from interlock.backends.blobs.s3.calls import TRIES, Calls
from interlock.backends.blobs.s3.place import folder_of, read_place
from interlock.backends.blobs.s3.signature import Asked, Credentials, signed
from interlock.backends.blobs.s3.store import S3Blobs
from interlock.backends.egress.client import GuardedEgress
from interlock.core.errors import ErrorKind, InterlockError
from interlock.kit.clock import SystemClock
from interlock.ports.blobs import StoredBlob
from s3_house import KEYS, S3Server, serve_s3

PUBLISHED = Credentials("AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY")
HOST = "examplebucket.s3.amazonaws.com"
FRIDAY = datetime(2013, 5, 24, tzinfo=UTC)
SLOW_DOWN = (503, b"<Error><Code>SlowDown</Code></Error>")


@pytest.fixture
async def egress() -> AsyncIterator[GuardedEgress]:
    made = GuardedEgress(("loopback",))
    yield made
    await made.close()


@pytest.mark.parametrize(
    ("asked", "signature"),
    [
        (
            Asked("GET", HOST, "/test.txt", headers={"Range": "bytes=0-9"}),
            "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41",
        ),
        (
            Asked(
                "PUT",
                HOST,
                "/test%24file.text",
                headers={"Date": "Fri, 24 May 2013 00:00:00 GMT", "x-amz-storage-class": "REDUCED_REDUNDANCY"},
                content_sha256=hashlib.sha256(b"Welcome to Amazon S3.").hexdigest(),
            ),
            "98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd",
        ),
        (
            Asked("GET", HOST, "/", query=(("lifecycle", ""),)),
            "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543",
        ),
        (
            Asked("GET", HOST, "/", query=(("prefix", "J"), ("max-keys", "2"))),
            "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7",
        ),
    ],
)
def test_signatures_are_those_of_the_published_examples(asked: Asked, signature: str) -> None:
    assert signed(asked, PUBLISHED, "us-east-1", FRIDAY)["Authorization"].endswith(f"Signature={signature}")


def test_a_token_is_signed_with_the_rest_and_no_secret_shows() -> None:
    keys = Credentials("id", "the secret", "the token")
    headers = signed(Asked("GET", HOST, "/"), keys, "us-east-1", FRIDAY)
    assert headers["x-amz-security-token"] == "the token"
    assert "x-amz-security-token" in headers["Authorization"]
    assert "the secret" not in str(headers)
    assert "the" not in repr(keys)


@pytest.mark.parametrize(
    ("url", "origin", "path"),
    [
        ("s3://box?region=eu-west-1", "https://box.s3.eu-west-1.amazonaws.com", "/k"),
        ("s3://box/a/b?region=eu-west-1&style=path", "https://s3.eu-west-1.amazonaws.com", "/box/k"),
        ("s3://box/?endpoint=https://store.example:9000", "https://store.example:9000", "/box/k"),
        ("s3://box?endpoint=http://[::1]:9000", "http://[::1]:9000", "/box/k"),
        ("s3://box?endpoint=https://store.example:443&style=host", "https://box.store.example", "/k"),
    ],
)
def test_a_place_is_read(url: str, origin: str, path: str) -> None:
    place = read_place(url)
    assert (place.origin, place.path("k")) == (origin, path)


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("https://box", "is no bucket"),
        ("s3://Box?region=r", "is no bucket"),
        ("s3://key:secret@box?region=r", "is no bucket"),
        ("s3://box", "does not name its region"),
        ("s3://box/a//b?region=r", "has a prefix"),
        ("s3://box/../b?region=r", "has a prefix"),
        ("s3://box?region=r&style=virtual", "has a style"),
        ("s3://box?region=r&endpiont=x", "says 'endpiont'"),
        ("s3://box?endpoint=store.example", "has an endpoint"),
        ("s3://box?endpoint=https://u:p@store.example", "has an endpoint"),
    ],
)
def test_what_cannot_be_a_place_is_refused_with_a_reason(url: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        read_place(url)


def test_keys_begin_with_the_tenant() -> None:
    assert folder_of("tenant-1") == "tenant-1"
    odd = [folder_of(name) for name in ("", ".", "..", "a/b", "~x", "ü", "x" * 65)]
    assert all(name.startswith("~") and "/" not in name for name in odd)
    assert len(set(odd)) == len(odd)


async def test_a_bucket_may_be_named_by_the_host(
    egress: GuardedEgress, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def here(host: str, port: int, *_: Any, **__: Any) -> Any:
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port))]

    monkeypatch.setattr(socket, "getaddrinfo", here)
    with serve_s3(tmp_path, "host") as server:
        blobs = server.blobs(egress, "deep/down")
        sha256 = await blobs.put("t", b"content")
        assert await blobs.get("t", sha256) == b"content"
        assert [str(path.relative_to(tmp_path)) for path in server.objects()] == [f"blobs/deep/down/t/{sha256}"]


@pytest.mark.parametrize(
    ("keys", "bucket", "why"),
    [
        (Credentials("tester", "wrong"), "blobs", "SignatureDoesNotMatch"),
        (Credentials("nobody", "wrong"), "blobs", "InvalidAccessKeyId"),
        (KEYS, "nobody", "there is no such bucket"),
    ],
)
async def test_what_another_try_would_not_change_is_said_at_once(
    egress: GuardedEgress, s3_server: S3Server, keys: Credentials, bucket: str, why: str
) -> None:
    blobs = S3Blobs(Calls(read_place(s3_server.url(bucket=bucket)), keys, egress, SystemClock()))
    for doing in (blobs.put("t", b"x"), blobs.get("t", "0" * 64), blobs.check()):
        with capture_logs() as logged, pytest.raises(InterlockError, match=why) as refused:
            await doing
        assert (refused.value.kind, refused.value.code) == (ErrorKind.UNAVAILABLE, "BLOB_STORE_REFUSED")
        assert logged == []


async def test_a_damaged_object_is_said_and_not_served(egress: GuardedEgress, s3_server: S3Server) -> None:
    blobs = s3_server.blobs(egress, "damaged")
    sha256 = await blobs.put("t", b"content")
    (s3_server.root / "blobs" / "damaged" / "t" / sha256).write_bytes(b"contenT")
    with pytest.raises(InterlockError) as refused:
        await blobs.get("t", sha256)
    assert refused.value.code == "BLOB_DAMAGED"


async def test_a_bucket_that_takes_objects_passes_the_check(egress: GuardedEgress, s3_server: S3Server) -> None:
    await s3_server.blobs(egress).check()


# A store with troubles --------------------------------------------------------------------------------------------


class Troubled:
    """Answers in turn with what it was told, then always with the last of it; None closes the connection."""

    def __init__(self) -> None:
        self.answers: list[tuple[int, bytes] | None] = []
        self.asked = 0
        self.heads = b""
        self.endpoint = ""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                length = next(
                    (line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length")), b":0"
                )
                await reader.readexactly(int(length.partition(b":")[2]))
                answer = self.answers[min(self.asked, len(self.answers) - 1)]
                self.asked += 1
                if answer is None:
                    break
                head = b"HTTP/1.1 %d x\r\n%bContent-Length: %d\r\n\r\n" % (answer[0], self.heads, len(answer[1]))
                writer.write(head + answer[1])
        except asyncio.IncompleteReadError:
            pass
        finally:
            writer.close()

    def blobs(self, egress: GuardedEgress) -> S3Blobs:
        return S3Blobs(Calls(read_place(f"s3://box?endpoint={self.endpoint}"), KEYS, egress, SystemClock()))


@asynccontextmanager
async def listening(store: Troubled) -> AsyncIterator[Troubled]:
    async with await asyncio.start_server(store.serve, "127.0.0.1", 0) as server:
        store.endpoint = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        yield store


@pytest.fixture(autouse=True)
def _hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calls, "_WAIT_SECONDS", 0.001)


@pytest.mark.parametrize("trouble", [SLOW_DOWN, (500, b""), (502, b""), (429, b""), None])
async def test_what_passes_is_tried_again(egress: GuardedEgress, trouble: Any) -> None:
    async with listening(Troubled()) as store:
        store.answers = [trouble, trouble, (200, b"")]
        with capture_logs() as logged:
            await store.blobs(egress).put("t", b"content")
        assert [line["event"] for line in logged][-1:] == ["blobs.retried"]
        assert KEYS.secret not in str(logged)


async def test_tries_are_bounded_and_the_last_reason_is_told(egress: GuardedEgress) -> None:
    async with listening(Troubled()) as store:
        store.answers = [SLOW_DOWN]
        with pytest.raises(InterlockError, match="503 SlowDown") as refused:
            await store.blobs(egress).put("t", b"content")
        assert (refused.value.kind, refused.value.code) == (ErrorKind.UNAVAILABLE, "BLOB_STORE_UNAVAILABLE")
        assert refused.value.retryable
        assert store.asked == TRIES


async def test_an_object_stays_whose_copy_failed_behind_a_good_status(egress: GuardedEgress) -> None:
    async with listening(Troubled()) as store:
        store.heads = b"Last-Modified: Wed, 01 Jan 2020 00:00:00 GMT\r\n"
        store.answers = [(200, b""), (200, b"<?xml?><Error><Code>InternalError</Code></Error>"), (204, b"")]
        blob = StoredBlob(f"t/{'0' * 64}", "0" * 64, FRIDAY)
        with pytest.raises(InterlockError, match="did not copy"):
            await store.blobs(egress).drop(blob, datetime(2021, 1, 1, tzinfo=UTC))
        assert store.asked == 2  # nothing was deleted


async def test_a_store_that_is_not_there_is_unavailable(egress: GuardedEgress) -> None:
    async with listening(Troubled()) as store:
        blobs = store.blobs(egress)
    with pytest.raises(InterlockError) as refused:
        await blobs.get("t", "0" * 64)
    assert refused.value.code == "BLOB_STORE_UNAVAILABLE"
