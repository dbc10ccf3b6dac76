"""Whatever ends a call, what a provider may have done for it is booked, and once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import pytest
from aiohttp import web

from interlock.backends.egress.client import GuardedEgress
from interlock.backends.models.openai_compatible.provider import OpenAICompatible
from interlock.backends.store.postgres.budgets import PostgresBooks
from interlock.core.errors import InterlockError
from interlock.core.models.prices import price
from interlock.core.models.requests import ModelRequest, read_chat, read_embeddings
from interlock.core.models.routing import Offer, Routes
from interlock.core.principal import Principal, Scope
from interlock.kit.clock import SystemClock
from interlock.kit.ids import RandomIds
from interlock.services.models.bundle import Models, build_models
from model_house import Upstream, chunk, refusing, running_upstream, streamed

IDS = RandomIds()
MOST = 100
BODY = {"model": "m", "messages": [{"role": "user", "content": "hello"}], "max_tokens": MOST}


class Place:
    """A gateway before a provider on loopback, a caller, and what the ledger has of it."""

    def __init__(self, books: PostgresBooks, database: Any, upstream: Upstream) -> None:
        self.upstream = upstream
        self.caller = Principal("ann", f"tenant-{IDS.new()}", frozenset({Scope.MODELS_USE}))
        self.egress = GuardedEgress(("loopback",))
        self._books = books
        self._database = database
        self.models = self.gateway(upstream.url)

    def gateway(self, url: str, **timeouts: float) -> Models:
        async def pause(_: float) -> None:
            await asyncio.sleep(0)

        provider = OpenAICompatible("p", url, "", self.egress, batch=2, **timeouts)
        routes = Routes((Offer(provider="p", default_price=price(1, 2)),))
        return build_models(
            routes=routes, providers={"p": provider}, books=self._books, clock=SystemClock(), ids=IDS, pause=pause
        )

    async def booked(self, models: Models | None = None) -> tuple[int, int, bool]:
        """Tokens in, tokens out, and whether they are estimated: of the one call that was made."""
        await (models or self.models).upkeep.stop()
        connection = await asyncpg.connect(self._database.superuser_url)
        rows = await connection.fetch("select * from interlock.model_calls where tenant_id = $1", self.caller.tenant_id)
        await connection.close()
        (row,) = rows
        assert row["status"] == "settled"
        return row["input_tokens"], row["output_tokens"], row["is_estimated"]

    async def asked(self) -> None:
        """Wait until the provider has the request."""
        async with asyncio.timeout(10):
            while not self.upstream.asked:
                await asyncio.sleep(0.01)


@pytest.fixture(scope="module")
async def books(database: Any) -> AsyncIterator[PostgresBooks]:
    books = PostgresBooks(database.serve_url)
    await books.open()
    yield books
    await books.close()


@pytest.fixture
async def place(books: PostgresBooks, database: Any) -> AsyncIterator[Place]:
    async with running_upstream() as upstream:
        place = Place(books, database, upstream)
        yield place
        await place.egress.close()


def at_most(request: ModelRequest) -> tuple[int, int, bool]:
    return request.most_prompt, request.most_output, True


async def forever(request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
    await asyncio.get_running_loop().create_future()
    raise AssertionError


async def half(request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
    return await streamed(request, [b'{"choices": ['], then=asyncio.sleep(60))


async def broken(request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
    assert request.transport is not None
    request.transport.close()
    return web.Response()


async def thinking(request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
    return await streamed(request, [b": thinking\n\n"], then=asyncio.sleep(60))


async def cancel(calling: asyncio.Task[Any]) -> None:
    calling.cancel()
    with pytest.raises(asyncio.CancelledError):
        await calling


@pytest.mark.parametrize("answer", [forever, half])
async def test_who_leaves_a_whole_answer_pays_for_what_it_may_have_become(place: Place, answer: Any) -> None:
    place.upstream.answers["m"] = answer
    request = read_chat(BODY)
    calling = asyncio.create_task(place.models.relay.complete(place.caller, request, ""))
    await place.asked()
    for _ in range(5):  # so that the head is read, where there is one
        await asyncio.sleep(0.01)
    await cancel(calling)
    assert await place.booked() == at_most(request)


async def test_a_provider_that_never_begins_is_paid_for_what_it_may_have_done(place: Place) -> None:
    place.upstream.answers["m"] = forever
    models, request = place.gateway(place.upstream.url, head_timeout=0.2), read_chat(BODY)
    with pytest.raises(InterlockError, match="no answer in time"):
        await models.relay.complete(place.caller, request, "")
    assert await place.booked(models) == at_most(request)


@pytest.mark.parametrize("is_stream", [False, True])
async def test_connections_that_break_after_the_request_are_paid_once(place: Place, is_stream: bool) -> None:
    place.upstream.answers["m"] = broken
    request = read_chat({**BODY, "stream": is_stream})
    with pytest.raises(InterlockError):
        await (place.models.relay.stream if is_stream else place.models.relay.complete)(place.caller, request, "")
    assert len(place.upstream.asked) >= 3
    assert await place.booked() == at_most(request)


async def test_a_proxy_that_does_not_know_leaves_the_price_open(place: Place) -> None:
    request = read_chat(BODY)
    place.upstream.answers["m"] = refusing(504, 503, 503)
    with pytest.raises(InterlockError):
        await place.models.relay.complete(place.caller, request, "")
    assert await place.booked() == at_most(request)


@pytest.mark.parametrize("status", [400, 401, 429, 500, 503])
async def test_who_refuses_did_nothing(place: Place, status: int) -> None:
    place.upstream.answers["m"] = refusing(status, status, status)
    with pytest.raises(InterlockError):
        await place.models.relay.complete(place.caller, read_chat(BODY), "")
    assert await place.booked() == (0, 0, False)


async def test_nobody_at_the_address_costs_nothing(place: Place) -> None:
    models = place.gateway("http://127.0.0.1:9/v1")
    with pytest.raises(InterlockError):
        await models.relay.complete(place.caller, read_chat(BODY), "")
    assert await place.booked(models) == (0, 0, False)


async def test_what_an_answer_tells_counts_whatever_was_tried_before(place: Place) -> None:
    place.upstream.answers["m"] = refusing(504, 500)
    await place.models.relay.complete(place.caller, read_chat(BODY), "")
    assert await place.booked() == (9, 12, False)


async def test_who_leaves_a_stream_before_its_first_word_pays_for_what_may_be_thought(place: Place) -> None:
    place.upstream.answers["m"] = thinking
    request = read_chat({**BODY, "stream": True})
    answer = await place.models.relay.stream(place.caller, request, "")
    await answer.close()
    assert await place.booked() == at_most(request)


async def test_who_leaves_a_stream_pays_for_what_came(place: Place) -> None:
    async def slow(request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
        return await streamed(request, [chunk("Hel")], then=asyncio.sleep(60))

    place.upstream.answers["m"] = slow
    request = read_chat({**BODY, "stream": True})
    answer = await place.models.relay.stream(place.caller, request, "")
    async for _ in answer.pieces():
        break
    await answer.close()
    assert await place.booked() == (request.prompt_tokens, 1, True)


async def test_of_texts_in_batches_each_is_paid_once(place: Place) -> None:
    calls = iter(("well", "broken", "broken", "broken", "broken", "broken", "broken"))

    async def second_fails(request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
        if next(calls) == "broken":
            return await broken(request, body)
        rows = [{"embedding": [0.5], "index": number} for number in range(2)]
        return web.json_response({"data": rows, "usage": {"prompt_tokens": 5, "total_tokens": 5}})

    place.upstream.answers["m"] = second_fails
    with pytest.raises(InterlockError):
        await place.models.relay.complete(
            place.caller, read_embeddings({"model": "m", "input": ["one", "two", "three", "four"]}), ""
        )
    second = read_embeddings({"model": "m", "input": ["three", "four"]})
    assert await place.booked() == (5 + second.most_prompt, 0, True)
