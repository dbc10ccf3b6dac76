"""How long is waited, what is tried again, and what a provider that stops does to a stream."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from interlock.backends.egress.client import GuardedEgress
from interlock.backends.models.openai_compatible.provider import OpenAICompatible
from interlock.core.errors import InterlockError
from interlock.core.models.requests import read_chat
from interlock.core.models.routing import Deployment
from interlock.kit.clock import SystemClock
from interlock.services.models import attempts as attempting
from interlock.services.models.attempts import Attempts
from model_house import Upstream, chunk, refusing, running_upstream, streamed


@pytest.fixture
async def upstream() -> AsyncIterator[Upstream]:
    async with running_upstream() as upstream:
        yield upstream


@pytest.fixture
async def egress() -> AsyncIterator[GuardedEgress]:
    egress = GuardedEgress(("loopback",))
    yield egress
    await egress.close()


def attempts(upstream: Upstream, egress: GuardedEgress, waits: list[float], **timeouts: float) -> Attempts:
    async def pause(seconds: float) -> None:
        waits.append(seconds)

    provider = OpenAICompatible("p", upstream.url, "sk", egress, **timeouts)
    return Attempts({"p": provider}, SystemClock(), pause)


def asked(**more: Any) -> Any:
    return read_chat({"model": "m", "messages": [{"role": "user", "content": "hello"}], **more})


M = [Deployment("p", "m", "m", None)]


async def test_one_second_and_then_two_without_a_word_of_the_provider(upstream: Any, egress: Any) -> None:
    waits: list[float] = []
    upstream.answers["m"] = refusing(500, 503)
    await (await attempts(upstream, egress, waits).open(asked(), M)).close()
    assert waits == [1.0, 2.0]


async def test_the_providers_word_counts(upstream: Any, egress: Any) -> None:
    waits: list[float] = []
    upstream.answers["m"] = refusing(429, 429, **{"retry-after": "7"})
    await (await attempts(upstream, egress, waits).open(asked(), M)).close()
    assert waits == [7.0, 7.0]


async def test_nobody_is_kept_waiting_for_an_hour(upstream: Any, egress: Any) -> None:
    waits: list[float] = []
    upstream.answers["m"] = refusing(429, **{"retry-after": "3600"})
    with pytest.raises(InterlockError) as refused:
        await attempts(upstream, egress, waits).open(asked(), M)
    assert (refused.value.code, refused.value.retry_after, waits) == ("LLM_PROVIDER_ERROR", 3600.0, [])


@pytest.mark.parametrize("status", [400, 401, 403, 404, 409, 422])
async def test_a_clear_no_is_taken_for_one(upstream: Any, egress: Any, status: int) -> None:
    waits: list[float] = []
    upstream.answers["m"] = refusing(status)
    with pytest.raises(InterlockError):
        await attempts(upstream, egress, waits).open(asked(), M)
    assert (waits, len(upstream.asked)) == ([], 1)


N = Deployment("p", "n", "n", None)


@pytest.mark.parametrize(
    ("status", "code"), [(401, "invalid_api_key"), (403, "AllocationQuota"), (404, "no_model"), (400, "Arrearage")]
)
async def test_a_provider_that_turns_us_away_leaves_the_request_to_the_next(
    upstream: Any, egress: Any, status: int, code: str
) -> None:
    waits: list[float] = []
    upstream.answers["m"] = refusing(status, status, status, code=code)
    opener = attempts(upstream, egress, waits)
    for _ in range(2):
        opened = await opener.open(asked(), [*M, N])
        assert opened.deployment == N
        await opened.close()
    assert (waits, [body["model"] for body in upstream.asked]) == ([], ["m", "n", "n"]), "and it has a rest"


async def test_who_turned_us_away_is_not_asked_again_while_another_is_waited_for(upstream: Any, egress: Any) -> None:
    waits: list[float] = []
    upstream.answers["m"], upstream.answers["n"] = refusing(401, 401), refusing(503)
    opened = await attempts(upstream, egress, waits).open(asked(), [*M, N])
    await opened.close()
    assert (waits, [body["model"] for body in upstream.asked]) == ([1.0], ["m", "n", "n"])


async def test_when_all_turn_us_away_the_last_one_says_why(upstream: Any, egress: Any) -> None:
    waits: list[float] = []
    upstream.answers["m"], upstream.answers["n"] = refusing(401), refusing(400, code="Arrearage")
    with pytest.raises(InterlockError) as refused:
        await attempts(upstream, egress, waits).open(asked(), [*M, N])
    assert refused.value.message == "The provider does not serve this installation (status 400, Arrearage)"
    assert (waits, len(upstream.asked)) == ([], 2)


async def test_a_request_that_is_wrong_is_not_carried_from_door_to_door(upstream: Any, egress: Any) -> None:
    upstream.answers["m"] = refusing(400, code="context_length_exceeded")
    with pytest.raises(InterlockError) as refused:
        await attempts(upstream, egress, []).open(asked(), [*M, N])
    assert (refused.value.code, len(upstream.asked)) == ("LLM_REQUEST_REFUSED", 1)


async def test_who_may_still_serve_it_has_the_last_word(upstream: Any, egress: Any) -> None:
    waits: list[float] = []
    upstream.answers["m"], upstream.answers["n"] = refusing(429, **{"retry-after": "60"}), refusing(404)
    with pytest.raises(InterlockError) as refused:
        await attempts(upstream, egress, waits).open(asked(), [*M, N])
    error = refused.value
    assert (error.code, error.retry_after, error.retryable) == ("LLM_PROVIDER_ERROR", 60.0, False)
    assert (waits, len(upstream.asked)) == ([], 2)


async def test_what_it_said_before_counts_no_more_when_it_turns_us_away_too(upstream: Any, egress: Any) -> None:
    upstream.answers["m"], upstream.answers["n"] = refusing(429, 404), refusing(404)
    with pytest.raises(InterlockError) as refused:
        await attempts(upstream, egress, []).open(asked(), [*M, N])
    assert (refused.value.code, len(upstream.asked)) == ("LLM_REQUEST_REFUSED", 3)


async def test_names_that_callers_make_up_do_not_pile_up(egress: Any) -> None:
    gone = Upstream(url="http://127.0.0.1:9/v1")
    opener = attempts(gone, egress, [])
    for number in range(attempting._MOST_RESTING + 20):
        alone = [Deployment("p", f"alone-{number}", "x", None)]
        together = [Deployment("p", f"{which}-{number}", "x", None) for which in "ab"]
        for deployments in (alone, together):
            with pytest.raises(InterlockError):
                await opener.open(asked(), deployments)
    resting = {one.model for one in opener._cool_until}
    assert len(resting) == attempting._MOST_RESTING
    assert not any(name.startswith("alone") for name in resting)
    assert f"b-{number}" in resting


async def test_nobody_at_the_address_is_tried_three_times(egress: Any) -> None:
    waits: list[float] = []
    gone = Upstream(url="http://127.0.0.1:9/v1")
    with pytest.raises(InterlockError) as refused:
        await attempts(gone, egress, waits).open(asked(), M)
    assert waits == [1.0, 2.0]
    assert "127.0.0.1" not in refused.value.message


async def test_a_stream_that_ends_before_its_first_byte_is_tried_again(upstream: Any, egress: Any) -> None:
    waits: list[float] = []

    async def silent(request: Any, body: Any) -> Any:
        return await streamed(request, [] if len(upstream.asked) == 1 else [chunk("a")])

    upstream.answers["m"] = silent
    opened = await attempts(upstream, egress, waits).open(asked(stream=True), M)
    assert opened.first == chunk("a")
    await opened.close()
    assert len(upstream.asked) == 2


async def test_a_provider_that_stops_in_mid_stream_is_given_up(upstream: Any, egress: Any) -> None:
    async def stall(request: Any, body: Any) -> Any:
        return await streamed(request, [chunk(text) for text in "abc"], then=asyncio.sleep(60))

    upstream.answers["m"] = stall
    opened = await attempts(upstream, egress, [], idle_timeout=0.2).open(asked(stream=True), M)
    read = opened.first
    pieces = opened.pieces
    assert pieces is not None
    try:
        async for piece in pieces:
            read += piece
    except InterlockError as error:
        stopped = error
    await opened.close()
    assert stopped.code == "TIMEOUT"
    assert read == b"".join(chunk(text) for text in "abc")


async def test_addresses_that_are_not_allowed_are_not_called(upstream: Any) -> None:
    guarded = GuardedEgress(())
    with pytest.raises(InterlockError) as refused:
        await attempts(upstream, guarded, []).open(asked(), M)
    await guarded.close()
    assert refused.value.code == "LLM_PROVIDER_ERROR"
    assert upstream.asked == []
