"""Who waits for a model has given up its place: as many wait as like to, and nobody waits for them."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import web

from interlock.backends.models.openai_compatible.provider import OpenAICompatible
from interlock.core.models.routing import Offer, Routes
from interlock.core.principal import Principal, Scope
from interlock.doors.http.app_factory import build_app
from interlock.doors.http.plumbing import admission
from interlock.services.access.keys import KeyWishes
from interlock.services.models.bundle import build_models
from interlock.services.models.no_books import NoBooks
from model_gateway import HELLO
from model_house import Answer, Upstream, embed, running_upstream, well

ASKED: dict[str, dict[str, Any]] = {
    "/v1/chat/completions": {"model": "m", "messages": HELLO},
    "/v1/embeddings": {"model": "m", "input": "1"},
    "/v1/responses": {"model": "m", "input": "x"},
    "/api/llm/chat": {"messages": HELLO, "model": "m"},
    "/api/llm/embedding": {"texts": ["1"], "model": "m"},
}


class UnlimitedBooks(NoBooks):
    """Books in which everything is written and nobody has a budget."""

    async def budgets_of(self, tenant_id: str, holder: str) -> tuple[()]:
        return ()

    async def write(self, rows: Any, answers: Any = ()) -> None:
        return None


@pytest.fixture
async def upstream() -> AsyncIterator[Upstream]:
    async with running_upstream() as upstream:
        yield upstream


async def test_who_waits_for_a_model_keeps_no_place(
    house: Any, make_caller: Any, upstream: Upstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(admission, "LENT_SECONDS", 3600.0)  # nobody's place is taken back
    go_on, waiting = asyncio.Event(), asyncio.Semaphore(0)

    async def hold(request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
        waiting.release()
        await go_on.wait()
        answer: Answer = embed if request.path.endswith("embeddings") else well
        return await answer(request, body)

    upstream.answers["m"] = hold
    provider = OpenAICompatible("p", upstream.url, "sk", house.egress)
    models = build_models(
        routes=Routes((Offer(provider="p", models={"m": "m"}),)),
        providers={"p": provider},
        books=UnlimitedBooks(),
        clock=house.clock,
        ids=house.ids,
    )
    services = dataclasses.replace(house.services, models=models)
    one_place = admission.Admission(places=1, alone=1)
    context = dataclasses.replace(house.context(), services=services, admission=one_place)
    caller = await make_caller(app=build_app(context, house.telemetry.expose))
    admin = Principal(caller.subject, caller.tenant_id, frozenset(Scope))
    key = (await house.services.access.keys.create(admin, KeyWishes(client_name="c", scopes=("models:use",)))).text

    def ask(path: str, **more: Any) -> asyncio.Task[Any]:
        headers = {"Authorization": f"Bearer {key if path.startswith('/v1') else caller.token}"}
        return asyncio.create_task(caller.http.post(path, json={**ASKED[path], **more}, headers=headers))

    async with asyncio.timeout(10):
        asking = [ask(path, **more) for path in ASKED for more in ({}, {"stream": "embed" not in path})]
        for _ in asking:
            await waiting.acquire()
        listed = await caller.http.get("/v1/models", headers={"Authorization": f"Bearer {key}"})
        go_on.set()
        answers = await asyncio.gather(*asking)
    assert [listed.status_code, *(answer.status_code for answer in answers)] == [200] * 11, answers
