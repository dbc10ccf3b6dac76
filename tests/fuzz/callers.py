"""Who fuzzes: somebody for each door, so that what one of them ends or revokes stops none of the others."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import uuid4

import httpx2

from tenants_house import Mint, owner_of_everything

Headers = dict[str, str]
PASSWORD = "correct-horse-battery-staple"


@dataclass(frozen=True)
class Callers:
    """``headers`` of somebody who may do everything, by the pattern of their paths; ``ids`` of what that one has."""

    headers: dict[str, Headers]
    ids: dict[str, str]


async def callers_of(url: str, mint: Mint) -> Callers:
    """Two tenants with one of everything, one for people and one for programs, and somebody who has logged in."""
    async with httpx2.AsyncClient(base_url=url, timeout=30.0) as http:
        people, programs = await owner_of_everything(mint, http), await owner_of_everything(mint, http)
        staying, leaving = await _logged_in(http), await _logged_in(http)
    headers = {
        "^/(api/|metrics|health)": {"Authorization": f"Bearer {people.token}"},
        "^/v1/": {"Authorization": f"Bearer {programs.key}"},
        "^/auth/v1/(?!logout)": staying,
        "^/auth/v1/logout": leaving,
    }
    return Callers(headers, {**people.ids, "model": "scripted"})


async def _logged_in(http: httpx2.AsyncClient) -> Headers:
    told = {"email": f"{uuid4().hex}@example.org", "password": PASSWORD}
    login = await http.post("/auth/v1/signup", json=told)
    login.raise_for_status()
    return {"Authorization": f"Bearer {login.json()['access_token']}"}
