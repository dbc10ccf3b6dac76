"""Who is calling: a credential of any kind in, a principal out.

What was verified is believed for a few seconds, never before it was verified and never by a part of its text.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import datetime, timedelta
from uuid import UUID

import msgspec

from interlock.core.api_key import KEY_PREFIX, ApiKey, matches, public_id_of
from interlock.core.errors import ErrorKind, InterlockError
from interlock.core.principal import Principal
from interlock.core.signed_request import NONCE_KEPT, SignedRequest, signing_secret
from interlock.kit.clock import Clock
from interlock.ports.access import AccessStore
from interlock.ports.identity import Identity
from interlock.services.access.refusals import KnownCallerRefused, refused

BELIEVED = timedelta(seconds=4)
"""How long a verified key is believed; a revocation holds everywhere after this and one query."""
_MAX_REMEMBERED = 10_000
_MAX_CHARACTERS = 512

ReadBody = Callable[[], Awaitable[bytes]]


class KeyIdentity:
    """Checks API keys. ``peppers`` are the server's secrets, the newest first.

    ``configured`` are keys of the settings by the SHA-256 of their text; they are not in the store.
    """

    def __init__(
        self,
        store: AccessStore,
        clock: Clock,
        peppers: Sequence[bytes],
        configured: Mapping[bytes, ApiKey] | None = None,
    ) -> None:
        self._store = store
        self._clock = clock
        self._peppers = tuple(peppers)
        self._configured = dict(configured or {})
        self._believed: OrderedDict[bytes, tuple[ApiKey, Principal, float]] = OrderedDict()
        self._signers: OrderedDict[str, None] = OrderedDict()
        self._used: dict[UUID, datetime] = {}

    def is_key(self, text: str) -> bool:
        """Whether a credential is written as an API key, good or not."""
        return text.startswith(KEY_PREFIX) or (bool(self._configured) and _sha256(text) in self._configured)

    def is_known(self, text: str) -> bool:
        """Whether this API key was good when it was verified last, as far as this process remembers."""
        digest = _sha256(text)
        return digest in self._believed or digest in self._configured

    def is_known_signer(self, public_id: str) -> bool:
        """Whether this key has signed a request well, as far as this process remembers."""
        return public_id in self._signers

    async def authenticate(self, text: str) -> Principal:
        """The principal of an API key. Raises UNAUTHENTICATED: ``invalid_api_key``, or ``client_disabled``."""
        digest = _sha256(text)
        believed = self._believed.get(digest)
        if believed is not None and self._clock.monotonic() < believed[2]:
            key, principal, _ = believed
            self._require_good(key)
        else:
            try:
                key = await self._verify(text, digest)
            except InterlockError as error:
                if error.kind is ErrorKind.UNAUTHENTICATED:
                    self._believed.pop(digest, None)  # not known as good any longer
                raise
            principal = key.principal()
            self._remember(digest, key, principal)
        self._used[key.key_id] = self._clock.now()
        return principal

    async def authenticate_signed(self, request: SignedRequest, read_body: ReadBody | None = None) -> Principal:
        """The principal of a signed request. Raises UNAUTHENTICATED: ``invalid_signature`` or ``client_disabled``.

        ``read_body`` gives the body if the request does not hold it yet; it is not called for a signer who is not
        known, and what it raises is passed on.
        """
        now = self._clock.now()
        if not request.is_well_formed() or not request.is_in_time(now.timestamp()):
            raise _bad_signature()
        key = await self._store.find_key(request.public_id)
        if key is None or not key.signing:
            raise _bad_signature()
        if read_body is not None:
            request = msgspec.structs.replace(request, body=await read_body())
        if not self._is_signed(request):
            raise _bad_signature()
        self._require_good(key)
        if not await self._store.use_nonce(key.key_id, key.tenant_id, request.nonce, now + NONCE_KEPT):
            raise _bad_signature()
        self._signers[request.public_id] = None
        if len(self._signers) > _MAX_REMEMBERED:
            self._signers.popitem(last=False)
        self._used[key.key_id] = now
        return key.principal()

    async def prove(self, principal: Principal) -> None:
        """Raise UNAUTHENTICATED unless the key behind ``principal`` is still good."""
        public_id = principal.subject.partition(":")[2]
        key = await self._store.find_key(public_id) if principal.key_id is not None else None
        if key is not None and key.key_id == principal.key_id:
            self._require_good(key)
        elif not any(one.key_id == principal.key_id for one in self._configured.values()):
            raise _unknown()

    async def flush(self) -> None:
        """Note in the store when keys were used last."""
        used, self._used = self._used, {}
        if used:
            try:
                await self._store.touch_keys(used)
            except InterlockError:
                self._used = used | self._used
                raise

    async def _verify(self, text: str, digest: bytes) -> ApiKey:
        configured = self._configured.get(digest)
        if configured is not None:
            self._require_good(configured)
            return configured
        public_id = public_id_of(text) if len(text) <= _MAX_CHARACTERS else None
        key = await self._store.find_key(public_id) if public_id is not None else None
        if key is None or key.digest is None or not matches(text, key.digest, self._peppers):
            raise _unknown()
        self._require_good(key)
        return key

    def _is_signed(self, request: SignedRequest) -> bool:
        """Whether one of the server's secrets, old or new, makes the signing secret that was used."""
        secrets = (signing_secret(request.public_id, pepper) for pepper in self._peppers)
        return any(request.is_signed_with(secret) for secret in secrets)

    def _require_good(self, key: ApiKey) -> None:
        if not key.is_good(self._clock.now()):
            message = "This API key was revoked or has expired; ask for a new one"
            raise KnownCallerRefused(key.principal(), "client_disabled", message)

    def _remember(self, digest: bytes, key: ApiKey, principal: Principal) -> None:
        self._believed[digest] = (key, principal, self._clock.monotonic() + BELIEVED.total_seconds())
        self._believed.move_to_end(digest)
        if len(self._believed) > _MAX_REMEMBERED:
            self._believed.popitem(last=False)


class Credentials:
    """Satisfies ``ports.identity.Identity`` for every kind of bearer: an API key, else a token."""

    def __init__(self, keys: KeyIdentity, tokens: Identity) -> None:
        self._keys = keys
        self._tokens = tokens

    async def authenticate(self, bearer: str) -> Principal:
        """The principal of a key or a token. Raises UNAUTHENTICATED with a reason in ``details``."""
        if self._keys.is_key(bearer):
            return await self._keys.authenticate(bearer)
        return await self._tokens.authenticate(bearer)


def _sha256(text: str) -> bytes:
    return hashlib.sha256(text.encode(errors="surrogatepass")).digest()


def _unknown() -> InterlockError:
    return refused("invalid_api_key", "The API key is not valid here")


def _bad_signature() -> InterlockError:
    return refused("invalid_signature", "The signature, its time or its nonce does not hold for this request")
