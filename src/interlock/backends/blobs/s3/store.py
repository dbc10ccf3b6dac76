"""Blobs as objects: the tenant, a slash, and the digest of the content."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime, timedelta
from email.utils import parsedate_to_datetime
from html import unescape

from interlock.backends.blobs.content import checked, is_name, missing, sha256_of
from interlock.backends.blobs.s3.calls import Calls
from interlock.backends.blobs.s3.place import folder_of
from interlock.core.errors import unavailable
from interlock.ports.blobs import StoredBlob
from interlock.ports.egress import EgressResponse

_CHECK = "~check"
_ASIDE = "aside/"
_LARGEST = 32 * 1_048_576  # bytes of a usual value at most: a slow store has the time for it
_OBJECT = re.compile(
    rb"<Contents>.*?<Key>([^<]+)</Key>.*?<LastModified>([^<]+)</LastModified>.*?</Contents>", re.DOTALL
)
_KEY = re.compile(r"[^/]+/(?:aside/)?([0-9a-f]{64})")


class S3Blobs:
    """Satisfies ``ports.blobs.BlobStore`` in a bucket, which any number of servers may use at once.

    A store compares what it receives with the SHA-256 of the signature; what is read is compared here.
    """

    is_shared = True
    kind = "s3"

    def __init__(self, calls: Calls) -> None:
        self._calls = calls

    async def put(self, tenant_id: str, content: bytes) -> str:
        """Store; kept by the store when it returns. Raises UNAVAILABLE.

        What is there already is sent again: its age counts from now, and asking first would take as long.
        """
        sha256 = sha256_of(content)
        await self._calls("PUT", self._key(tenant_id, sha256), body=content)
        return sha256

    async def get(self, tenant_id: str, sha256: str) -> bytes:
        """The content. Raises NOT_FOUND, UNAVAILABLE; INTERNAL if it is not what it was."""
        if not is_name(sha256):
            raise missing(sha256)
        answer = await self._read(self._key(tenant_id, sha256))
        if answer.status == 404:
            answer = await self._read(self._key(tenant_id, sha256, _ASIDE))
        if answer.status == 404:
            raise missing(sha256)
        return checked(sha256, answer.body)

    async def check(self) -> None:
        """Return if the bucket takes an object now; tried once. Raises UNAVAILABLE with the reason."""
        await self._calls("PUT", self._calls.place.prefix + _CHECK, body=b"interlock", tries=1)

    async def listed(self, after: str, limit: int) -> Sequence[StoredBlob]:
        """Objects by their keys. Raises UNAVAILABLE."""
        place = self._calls.place
        while True:
            query = [("list-type", "2"), ("max-keys", str(limit))]
            query += [(name, text) for name, text in (("prefix", place.prefix), ("start-after", after)) if text]
            listed = _OBJECT.findall((await self._calls("GET", query=query)).body)
            keys = list(dict(map(_object, listed)).items())  # some list twice what several stored at once
            found = [
                StoredBlob(key, match[1], at) for key, at in keys if (match := _KEY.fullmatch(key, len(place.prefix)))
            ]
            if found or not keys:
                return found
            after = keys[-1][0]

    async def drop(self, blob: StoredBlob, before: datetime) -> bool:
        """Set an object aside that was not stored lately, or remove one that was aside. Raises UNAVAILABLE.

        A ``put`` may come in between the last look and the removal: nothing here can make the two one. What is set
        aside is found by ``get`` and put back by ``keep``, so such a blob is not lost.
        """
        answer = await self._calls("HEAD", blob.place)
        if answer.status == 404 or _stored_at(answer) >= before:
            return False
        is_aside = self._is_aside(blob)
        if not is_aside:
            await self._copy(blob.place, blob.place.removesuffix(blob.sha256) + _ASIDE + blob.sha256)
        await self._calls("DELETE", blob.place)
        return is_aside

    async def keep(self, blob: StoredBlob) -> None:
        """Put back what was set aside. Raises UNAVAILABLE."""
        if self._is_aside(blob):
            await self._copy(blob.place, blob.place.removesuffix(_ASIDE + blob.sha256) + blob.sha256)
            await self._calls("DELETE", blob.place)

    def _is_aside(self, blob: StoredBlob) -> bool:
        return blob.place.removeprefix(self._calls.place.prefix).count("/") > 1

    async def _copy(self, source: str, target: str) -> None:
        told = {"x-amz-copy-source": f"/{self._calls.place.bucket}/{source}"}
        answer = await self._calls("PUT", target, headers=told)
        if answer.status == 404 or b"<Error" in answer.body:  # a copy that fails late is told behind a 200
            raise unavailable("The bucket did not copy an object; try again")

    async def _read(self, key: str) -> EgressResponse:
        return await self._calls("GET", key, size=_LARGEST)

    def _key(self, tenant_id: str, sha256: str, aside: str = "") -> str:
        return f"{self._calls.place.prefix}{folder_of(tenant_id)}/{aside}{sha256}"


def _stored_at(answer: EgressResponse) -> datetime:
    """The latest that the head of an object can mean: it tells whole seconds."""
    return parsedate_to_datetime(answer.headers["last-modified"]) + timedelta(seconds=1)


def _object(found: tuple[bytes, bytes]) -> tuple[str, datetime]:
    key, at = found
    return unescape(key.decode()), datetime.fromisoformat(at.decode())
