"""Requests to the store of a bucket: signed, repeated while that may help, and their refusals in our words."""

from __future__ import annotations

import asyncio
import hashlib
import random
import re
from collections.abc import Mapping, Sequence

import structlog

from interlock.backends.blobs.s3.place import Place
from interlock.backends.blobs.s3.signature import NOTHING, Asked, Credentials, signed, written
from interlock.core.errors import ErrorKind, InterlockError
from interlock.kit.clock import Clock
from interlock.ports.egress import ASKER, Egress, EgressResponse

TRIES = 4
_WAIT_SECONDS = 0.2  # before the second try; it doubles, and up to half of it is taken off
_TRY_SECONDS = 15.0  # for each try, besides what its bytes take
_BYTES_A_SECOND = 1_048_576  # a store that is slower than this is taken for lost
_MOST = 512 * 1_048_576  # bytes of an answer; no value is as large
_PASSING = frozenset((408, 429, 500, 502, 503, 504))
_PASSING_CODES = frozenset(("RequestTimeout", "SlowDown", "OperationAborted"))
_CODE = re.compile(rb"<Code>([A-Za-z0-9]{1,60})</Code>")
log = structlog.get_logger("blobs")


class Calls:
    """Asks the store of ``place``. ``egress`` may reach no more than the operator wants blobs to be kept at."""

    def __init__(self, place: Place, credentials: Credentials, egress: Egress, clock: Clock) -> None:
        self.place = place
        self._credentials = credentials
        self._egress = egress
        self._clock = clock

    async def __call__(
        self,
        method: str,
        key: str = "",
        *,
        body: bytes | None = None,
        query: Sequence[tuple[str, str]] = (),
        headers: Mapping[str, str] | None = None,
        size: int = 0,
        tries: int = TRIES,
    ) -> EgressResponse:
        """The answer, of status 2xx or 404 for a key that is not there; ``size`` is what bytes it may have.

        Raises UNAVAILABLE BLOB_STORE_UNAVAILABLE after ``tries`` that failed, BLOB_STORE_REFUSED for what another try
        would not change.
        """
        asked = Asked(
            method=method,
            host=self.place.host,
            path=self.place.path(key),
            query=query,
            headers=headers or {},
            content_sha256=hashlib.sha256(body).hexdigest() if body else NOTHING,
        )
        seconds = _TRY_SECONDS + max(size, len(body or b"")) / _BYTES_A_SECOND
        number = 1
        while isinstance(found := await self._try(asked, body, seconds), str):
            if number >= tries:
                raise _unavailable(self.place, tries, found)
            log.warning("blobs.retried", method=method, reason=found)
            await asyncio.sleep(_WAIT_SECONDS * 2 ** (number - 1) * random.uniform(0.5, 1.0))
            number += 1
        return found

    async def _try(self, asked: Asked, body: bytes | None, seconds: float) -> EgressResponse | str:
        """The answer, or why another try may help. Raises BLOB_STORE_REFUSED."""
        query = written(asked.query)
        url = self.place.origin + asked.path + (f"?{query}" if query else "")
        asker = ASKER.set("")  # a tenant's share of calls is for servers that it names
        try:
            answer = await self._egress.request(
                asked.method,
                url,
                headers=signed(asked, self._credentials, self.place.region, self._clock.now()),
                body=body,
                timeout=seconds,
                max_bytes=_MOST,
            )
        except InterlockError as error:
            if error.code not in ("EXTERNAL_SERVICE_ERROR", "TIMEOUT"):
                raise _refused(self.place, error.message) from error
            return error.message
        finally:
            ASKER.reset(asker)
        if answer.truncated:
            raise _refused(self.place, f"it answers with more than {_MOST} bytes")
        return self._judged(answer)

    def _judged(self, answer: EgressResponse) -> EgressResponse | str:
        found = _CODE.search(answer.body[:4096]) if answer.status >= 300 else None
        code = found[1].decode() if found else ""
        if 200 <= answer.status < 300 or (answer.status == 404 and code != "NoSuchBucket"):
            return answer
        said = f"{answer.status} {code}".strip()
        if answer.status in _PASSING or code in _PASSING_CODES:
            return f"it answers {said}"
        raise _refused(self.place, _meaning(answer, code) or f"it answers {said}")


def _meaning(answer: EgressResponse, code: str) -> str:
    """What the usual refusals come from."""
    if code == "NoSuchBucket":
        return "there is no such bucket"
    if answer.status in (301, 307, 308) or code == "AuthorizationHeaderMalformed":
        region = answer.headers.get("x-amz-bucket-region")
        return "the bucket is in another region" + (f", {region}" if region else "")
    if code == "RequestTimeTooSkewed":
        return "the clocks of this machine and of the store differ by too much"
    if answer.status in (401, 403):
        return f"it refuses these credentials ({code or answer.status})"
    return ""


def _unavailable(place: Place, tries: int, reason: str) -> InterlockError:
    message = f"The blob store {place.host} cannot be used now (tried {tries} times): {reason}"
    return InterlockError(ErrorKind.UNAVAILABLE, "BLOB_STORE_UNAVAILABLE", message, retryable=True, retry_after=1.0)


def _refused(place: Place, reason: str) -> InterlockError:
    message = f"The blob store {place.host} cannot be used for the bucket {place.bucket}: {reason}"
    remedy = "Mend INTERLOCK_BLOBS_URL or the keys beside it; `interlock doctor` tries them."
    return InterlockError(
        ErrorKind.UNAVAILABLE, "BLOB_STORE_REFUSED", message, details={"next": remedy}, retryable=True, retry_after=30.0
    )
