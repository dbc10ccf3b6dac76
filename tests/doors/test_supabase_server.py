"""A real server whose people log in with a Supabase project, which is a real HTTP server here."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path

import httpx2
import pytest

from interlock.kit.ids import RandomIds
from issuer_house import Issuer, running_issuer
from served import start_server, stop_server


@pytest.fixture(scope="module")
async def issuer() -> AsyncIterator[Issuer]:
    async with running_issuer() as running:
        yield running


@pytest.fixture(scope="module")
async def client(issuer: Issuer, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[httpx2.AsyncClient]:
    data_dir: Path = tmp_path_factory.mktemp("supabase")
    data_dir.chmod(0o755)
    settings = {
        "INTERLOCK_SUPABASE_URL": issuer.url.removesuffix("/auth/v1"),
        "INTERLOCK_SUPABASE_ANON_KEY": "public-key",
    }
    process, url, _ = await asyncio.to_thread(start_server, data_dir, **settings)
    async with httpx2.AsyncClient(base_url=url, timeout=30) as client:
        yield client
    await asyncio.to_thread(stop_server, process)


def bearer(issuer: Issuer, kid: str = "ec-1", **changes: object) -> dict[str, str]:
    content = {"exp": int(datetime.now(UTC).timestamp()) + 600, "jti": str(RandomIds().new()), **changes}
    return {"authorization": f"Bearer {issuer.token(kid, **content)}"}


async def test_people_of_the_project_come_in_with_its_tokens(client: httpx2.AsyncClient, issuer: Issuer) -> None:
    for kid in ("ec-1", "rsa-1"):
        answer = await client.get("/api/app/workflows", headers=bearer(issuer, kid))
        assert (answer.status_code, answer.json()["workflows"]) == (200, [])
    assert issuer.key_fetches == 1


async def test_they_have_the_role_and_the_tenant_that_the_project_gave_them(
    client: httpx2.AsyncClient, issuer: Issuer
) -> None:
    viewer = bearer(issuer, app_metadata={"interlock_role": "viewer", "tenant_id": "acme"})
    definition = {"name": "w", "nodes": [{"id": "a", "type": "echo"}]}
    assert (await client.post("/api/app/workflows", json=definition, headers=viewer)).status_code == 403
    member = bearer(issuer, app_metadata={"tenant_id": "acme"})
    assert (await client.post("/api/app/workflows", json=definition, headers=member)).status_code == 200
    assert len((await client.get("/api/app/workflows", headers=viewer)).json()["workflows"]) == 1


async def test_forged_tokens_are_401_and_cost_the_project_nothing(client: httpx2.AsyncClient, issuer: Issuer) -> None:
    await client.get("/api/app/workflows", headers=bearer(issuer))
    before = issuer.key_fetches
    answers = await asyncio.gather(
        *(client.get("/api/app/workflows", headers=bearer(issuer, f"k-{number}")) for number in range(50))
    )
    assert {answer.status_code for answer in answers} == {401}
    assert {answer.json()["reason"] for answer in answers} == {"invalid_token"}
    assert issuer.key_fetches - before <= 1


async def test_an_address_that_is_not_confirmed_is_told_so(client: httpx2.AsyncClient, issuer: Issuer) -> None:
    subject = str(RandomIds().new())
    issuer.users[subject] = {"id": subject, "email_confirmed_at": None}
    refused = await client.get("/api/app/workflows", headers=bearer(issuer, sub=subject))
    assert (refused.status_code, refused.json()["reason"]) == (401, "email_not_confirmed")
    assert refused.json()["required_auth"]


async def test_a_project_that_is_away_means_503_and_never_in(client: httpx2.AsyncClient, issuer: Issuer) -> None:
    issuer.user_status = 500
    refused = await client.get("/api/app/workflows", headers=bearer(issuer))
    issuer.user_status = 200
    assert (refused.status_code, refused.json()["error_code"]) == (503, "SERVICE_UNAVAILABLE")
    assert int(refused.headers["retry-after"]) >= 1


async def test_there_is_no_second_directory(client: httpx2.AsyncClient) -> None:
    for method, path in (
        ("POST", "/auth/v1/signup"),
        ("POST", "/auth/v1/token?grant_type=password"),
        ("GET", "/auth/v1/.well-known/jwks.json"),
    ):
        answer = await client.request(method, path, json={} if method == "POST" else None)
        assert (answer.status_code, answer.json()["error_code"]) == (404, "not_found"), path
