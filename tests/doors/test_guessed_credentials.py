"""Wrong API keys, signatures and tickets are bounded for each address, and the good ones behind it hardly feel it."""

from __future__ import annotations

from typing import Any

import httpx2
import pytest

from interlock.core.api_key import write_key
from interlock.core.errors import InterlockError
from interlock.core.principal import Principal, Scope
from interlock.doors.http.app_factory import build_app
from interlock.doors.http.plumbing.guesses import MOST, SECONDS, Guesses
from interlock.services.access import authenticate
from interlock.services.access.keys import KeyWishes
from interlock.services.access.refusals import refused

PATH = "/api/state/01890000-0000-7000-8000-000000000000/x"
IN = 200
ATTACKER, OTHER = "192.0.2.7", "192.0.2.8"


class Hours:
    """A clock that is moved by hand."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def monotonic(self) -> float:
        return self.seconds


def client_at(app: Any, address: str) -> httpx2.AsyncClient:
    transport = httpx2.ASGITransport(app=app, client=(address, 4000))
    return httpx2.AsyncClient(transport=transport, base_url="http://127.0.0.1:8000")


async def new_key(tenant: Any, house: Any) -> str:
    admin = Principal("ann", tenant.tenant_id, frozenset(Scope))
    wishes = KeyWishes(client_name="guesses", scopes=(Scope.BLACKBOARD_READ,))
    return str((await house.services.access.keys.create(admin, wishes)).text)


async def ask(http: httpx2.AsyncClient, key: str) -> httpx2.Response:
    return await http.get(PATH, headers={"x-api-key": key})


async def test_wrong_keys_are_refused_unseen_beyond_the_bound_and_only_those_of_their_address(
    house: Any, tenant: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    good = await new_key(tenant, house)
    fresh = await new_key(tenant, house)
    app = build_app(house.context(is_local=False), lambda: b"")
    store = house.services.access.key_identity._store
    queries = 0
    find = store.find_key

    async def counted(public_id: str) -> Any:
        nonlocal queries
        queries += 1
        return await find(public_id)

    monkeypatch.setattr(store, "find_key", counted)
    monkeypatch.setattr(authenticate, "BELIEVED", authenticate.BELIEVED * 0)  # the good key is always looked up
    async with client_at(app, ATTACKER) as attacker, client_at(app, OTHER) as other:
        assert (await ask(attacker, good)).status_code == IN
        wrong = [write_key("local", good.split("_")[2], f"{number:032d}") for number in range(MOST + 20)]
        answers = [await ask(attacker, key) for key in wrong]
        assert [answer.status_code for answer in answers] == [401] * MOST + [429] * 20
        assert queries == MOST + 1
        assert 1 <= int(answers[-1].headers["retry-after"]) <= SECONDS
        assert "RATE_LIMIT_EXCEEDED" in answers[-1].text
        assert (await ask(attacker, good)).status_code == IN, "a key that is known to be good goes on"
        assert (await ask(attacker, fresh)).status_code == 429
        assert (await ask(other, fresh)).status_code == IN, "another address feels nothing"
        assert (await ask(attacker, fresh)).status_code == IN, "it is known by now"


async def test_after_the_minute_an_address_may_try_again_and_its_sorts_do_not_lock_each_other() -> None:
    clock, asked = Hours(), 0
    guesses = Guesses(clock)  # type: ignore[arg-type]

    async def wrong() -> None:
        nonlocal asked
        asked += 1
        raise refused("invalid_api_key", "wrong")

    async def right() -> str:
        return "in"

    for _ in range(MOST + 5):
        with pytest.raises(InterlockError) as error:
            await guesses.check("keys", ATTACKER, wrong)
    assert (asked, error.value.retry_after) == (MOST, SECONDS)
    assert await guesses.check("tickets", ATTACKER, right) == "in"
    assert await guesses.check("keys", ATTACKER, right, lambda: True) == "in"
    clock.seconds += SECONDS
    assert await guesses.check("keys", ATTACKER, right) == "in"


async def test_all_addresses_of_one_ipv6_network_are_one() -> None:
    guesses = Guesses(Hours())  # type: ignore[arg-type]

    async def wrong() -> None:
        raise refused("invalid_signature", "wrong")

    for number in range(MOST):
        with pytest.raises(InterlockError, match="wrong"):
            await guesses.check("signatures", f"2001:db8::{number:x}", wrong)
    with pytest.raises(InterlockError, match="try again in 60 s"):
        await guesses.check("signatures", "2001:db8::ffff", wrong)
