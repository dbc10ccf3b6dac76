"""Blobs as objects: the tenant, a slash, and the digest of the content."""

from __future__ import annotations

from interlock.backends.blobs.content import checked, is_name, missing, sha256_of
from interlock.backends.blobs.s3.calls import Calls
from interlock.backends.blobs.s3.place import folder_of
from interlock.ports.egress import EgressResponse

_CHECK = "~check"


class S3Blobs:
    """Satisfies ``ports.blobs.Blobs`` in a bucket, which any number of servers may use at once.

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
            raise missing(sha256)
        return checked(sha256, answer.body)

    async def check(self) -> None:
        """Return if the bucket takes an object now; tried once. Raises UNAVAILABLE with the reason."""
        await self._calls("PUT", self._calls.place.prefix + _CHECK, body=b"interlock", tries=1)

    async def _read(self, key: str) -> EgressResponse:
        return await self._calls("GET", key, size=_LARGEST)

    def _key(self, tenant_id: str, sha256: str) -> str:
        return f"{self._calls.place.prefix}{folder_of(tenant_id)}/{sha256}"


_LARGEST = 32 * 1_048_576  # bytes of a usual value at most: a slow store has the time for it
