"""An issuer of tokens for tests: a real HTTP server with public keys and users, and a clock that is moved by hand."""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

import jwt
from aiohttp import web
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from interlock.backends.egress.client import GuardedEgress
from interlock.backends.identity.confirmation import ByIssuer
from interlock.backends.identity.issuer import IssuerIdentity
from interlock.backends.identity.key_set import KeySet, SharedSecret
from interlock.kit.clock import ManualClock

NOW = datetime(2026, 11, 22, 10, 0, tzinfo=UTC)
SECRET = "a-legacy-secret-of-more-than-32-bytes"
SUBJECT = "0190a000-0000-7000-8000-00000000000a"
Key = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey


def encoded(value: Any) -> str:
    """A value, or bytes, as a part of a token."""
    content = value if isinstance(value, bytes) else json.dumps(value).encode()
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode()


def public_pem(key: Key) -> bytes:
    return key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


class Issuer:
    """Keys, users, and how often each was asked for. ``status`` is what it answers when asked for keys."""

    def __init__(self) -> None:
        self.ec = ec.generate_private_key(ec.SECP256R1())
        self.rsa = rsa.generate_private_key(65537, 2048)
        self.keys: dict[str, Key] = {"ec-1": self.ec, "rsa-1": self.rsa}
        self.changes: dict[str, dict[str, Any]] = {}
        self.users: dict[str, dict[str, Any]] = {SUBJECT: {"id": SUBJECT, "email_confirmed_at": "2026-01-01T00:00:00Z"}}
        self.key_fetches = self.user_questions = 0
        self.status = self.user_status = 200
        self.url = ""
        self.clock = ManualClock(NOW)
        self.egress = GuardedEgress(("loopback",))

    def jwks(self) -> dict[str, Any]:
        listed = []
        for kid, key in self.keys.items():
            if isinstance(key, ec.EllipticCurvePrivateKey):
                entry = jwt.algorithms.ECAlgorithm.to_jwk(key.public_key(), as_dict=True) | {"alg": "ES256"}
            else:
                entry = jwt.algorithms.RSAAlgorithm.to_jwk(key.public_key(), as_dict=True) | {"alg": "RS256"}
            entry |= {"kid": kid, "use": "sig"}
            listed.append(entry | self.changes.get(kid, {}))
        return {"keys": listed}

    async def answer_keys(self, request: web.Request) -> web.Response:
        self.key_fetches += 1
        return web.json_response(self.jwks(), status=self.status)

    async def answer_user(self, request: web.Request) -> web.Response:
        self.user_questions += 1
        assert request.headers["apikey"] == "public-key"
        token = request.headers["authorization"].removeprefix("Bearer ")
        subject = jwt.decode(token, options={"verify_signature": False})["sub"]
        return web.json_response(self.users.get(subject, {}), status=self.user_status)

    def claims(self, **changes: Any) -> dict[str, Any]:
        """Claims as Supabase makes them, but for what is given; None leaves a claim out."""
        content = {
            "iss": self.url,
            "aud": "authenticated",
            "sub": SUBJECT,
            "role": "authenticated",
            "email": "ann@example.org",
            "exp": int(NOW.timestamp()) + 3600,
            "iat": int(NOW.timestamp()),
            "is_anonymous": False,
            "app_metadata": {"provider": "email"},
            "user_metadata": {"interlock_role": "admin", "tenant_id": "somebody-elses"},
        }
        return {name: value for name, value in (content | changes).items() if value is not None}

    def token(self, kid: str = "ec-1", *, header: dict[str, Any] | None = None, **changes: Any) -> str:
        """A token that this issuer signed."""
        key = self.keys.get(kid, self.ec)
        algorithm = "ES256" if isinstance(key, ec.EllipticCurvePrivateKey) else "RS256"
        return jwt.encode(self.claims(**changes), key, algorithm=algorithm, headers={"kid": kid, **(header or {})})

    def legacy_token(self, **changes: Any) -> str:
        return jwt.encode(self.claims(**changes), SECRET, algorithm="HS256")

    def identity(self, *, is_legacy: bool = False, allows_guests: bool = False) -> IssuerIdentity:
        """A verifier of its own, as a server would make it."""
        url = f"{self.url}/.well-known/jwks.json"
        keys = SharedSecret(SECRET) if is_legacy else KeySet(url, self.egress, self.clock)
        confirmation = ByIssuer(self.url, "public-key", self.egress)
        return IssuerIdentity(self.url, "authenticated", keys, confirmation, self.clock, allows_guests=allows_guests)


@asynccontextmanager
async def running_issuer() -> AsyncIterator[Issuer]:
    """An issuer that answers on loopback."""
    issuer = Issuer()
    app = web.Application()
    app.router.add_get("/auth/v1/.well-known/jwks.json", issuer.answer_keys)
    app.router.add_get("/auth/v1/user", issuer.answer_user)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = runner.addresses[0][1]
    issuer.url = f"http://127.0.0.1:{port}/auth/v1"
    try:
        yield issuer
    finally:
        await issuer.egress.close()
        await runner.cleanup()
