"""Whether a person has confirmed an e-mail address: asked of the issuer, or read from what it signed."""

from __future__ import annotations

import msgspec

from interlock.backends.identity.claims import Claims
from interlock.backends.identity.refusal import refused
from interlock.core.errors import InterlockError, unavailable
from interlock.ports.egress import Egress

_ASK_SECONDS = 5.0
_MAX_BYTES = 262_144


class _User(msgspec.Struct):
    id: str
    email_confirmed_at: str | None = None


class ByIssuer:
    """Asks ``<issuer>/user`` with the caller's own token, so that an ended login is found out as well.

    ``api_key`` is the project's public key, which Supabase wants beside the token.
    """

    def __init__(self, issuer: str, api_key: str, egress: Egress) -> None:
        self._url = f"{issuer}/user"
        self._api_key = api_key
        self._egress = egress

    async def require(self, bearer: str, claims: Claims) -> None:
        """Return if the issuer says so."""
        try:
            answer = await self._egress.request(
                "GET",
                self._url,
                headers={"authorization": f"Bearer {bearer}", "apikey": self._api_key, "accept": "application/json"},
                body=None,
                timeout=_ASK_SECONDS,
                max_bytes=_MAX_BYTES,
            )
        except InterlockError as error:
            raise unavailable("The issuer of the token cannot be asked about it now; try again") from error
        if answer.status in (401, 403, 404):
            raise refused("auth_failed", "The issuer of the token does not take it any more; log in again")
        if answer.status != 200 or answer.truncated:
            raise unavailable(f"The issuer of the token answered {answer.status} when asked about it; try again")
        try:
            user = msgspec.json.decode(answer.body, type=_User)
        except msgspec.MsgspecError as error:
            raise unavailable("The issuer of the token gave an answer that is no user") from error
        if user.id != claims.sub:
            raise refused("auth_failed", "The issuer of the token says that it is somebody else's")
        if not user.email_confirmed_at:
            raise _not_confirmed()


class ByClaim:
    """Reads the claim ``email_verified`` of the signed token."""

    async def require(self, bearer: str, claims: Claims) -> None:
        """Return if the token says so."""
        if not claims.email_verified:
            raise _not_confirmed()


def _not_confirmed() -> InterlockError:
    return refused("email_not_confirmed", "Confirm your e-mail address first, then log in again")
