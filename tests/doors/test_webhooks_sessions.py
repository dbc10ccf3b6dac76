"""Messages about sessions say what their client calls them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from webhook_house import Receiver, receiving


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with receiving() as found:
        yield found


async def test_a_session_is_told_of_as_its_client_called_it(caller: Any, receiver: Receiver) -> None:
    """C11."""
    states = "initial_state: a\nstates: [a, b]\nstate_node_map: {a: builtin://echo}\nterminal_states: [b]\n"
    states += "transitions: [{from: a, to: b, event: STEP_DONE}]\n"
    flow = {"flow_id": "order", "name": "Order", "yaml_content": states}
    registered = await caller.http.post("/api/registry/flows", json=flow)
    assert registered.status_code == 200, registered.text
    wish = {"url": receiver.url, "events": ["execution.succeeded"], "workflow_id": "order"}
    assert (await caller.post("/webhooks", wish)).status_code == 201
    for wanted in ({"flow_id": "order", "session_id": "order-7"}, {"flow_id": "order"}, {"node_id": "echo"}):
        started = await caller.http.post("/api/workflow/start", json=wanted)
        assert started.status_code == 200, started.text
    got = [one.json["data"] for one in await receiver.wait_for(2)]
    told = {(one["session_id"], one["flow_id"]) for one in got}
    other = next(one["execution_id"] for one in got if one["session_id"] != "order-7")
    assert told == {("order-7", "order"), (other, "order")}
    unknown = await caller.post("/webhooks", {**wish, "workflow_id": "no-such-flow"})
    assert unknown.status_code == 404
