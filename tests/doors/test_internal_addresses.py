"""No field that takes a URL leads inside, however the address is written: neither when it is saved nor when it is used.

The operator of this server allows no private address. Whatever is taken when it is saved is refused when it is called;
an open port and a closed one get the same answer. Fields where each address costs several requests are tried with
every fourth of them, and with all if ``ALL_ADDRESSES`` is set.
"""

from __future__ import annotations

import functools
import os
import re
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any

import pytest

from address_house import Canary, canary, closed_port, internal_urls
from interlock.core.errors import InterlockError
from webhook_house import until

REFUSED = (400, 422)


@pytest.fixture
async def nobody_listens_to(house: Any, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Canary]:
    """The canary, beside a server that may not reach it."""
    monkeypatch.setattr(house.egress._policy, "_allowed", ())
    async with canary() as found:
        yield found
        assert found.connections == 0


def spelled(found: Canary) -> list[str]:
    return internal_urls(found.port)


def some(found: Canary, first: int) -> list[str]:
    return spelled(found)[first :: 1 if os.environ.get("ALL_ADDRESSES") else 4]


async def saved(caller: Any, urls: list[str], make: Any) -> list[dict[str, Any]]:
    """The nodes that can be stored: all but those that the refusal of all of them names."""
    nodes = [{"id": f"n{number}", "on_error": "continue", **make(url)} for number, url in enumerate(urls)]
    answer = await caller.post("/workflows", {"name": "Test", "nodes": nodes})
    assert answer.status_code in (200, *REFUSED), answer.text
    if answer.status_code != 200:
        named = {int(number) for number in re.findall(r"nodes\[([0-9]+)\]", answer.text)}
        nodes = [node for number, node in enumerate(nodes) if number not in named]
    return nodes


async def failures(caller: Any, execution_id: str) -> dict[str, tuple[str, str]]:
    """Code and message of every node that failed, without numbers of ports."""
    path = f"/executions/{execution_id}/stream"
    frames = (await caller.get(path)).text
    assert "execution_completed" in frames, frames[-2000:]
    found = {}
    session = (await caller.http.get(f"/api/app/executions/{execution_id}")).json()
    for node in session["node_executions"]:
        error = node.get("error") or {}
        found[node["node_id"]] = (error.get("code"), re.sub(r"[0-9]{4,5}", "PORT", error.get("message", "")))
    return found


async def test_there_are_enough_spellings() -> None:
    assert len(set(internal_urls(4711))) >= 120


@pytest.mark.parametrize("kind", ["literal", "expression"])
async def test_http_request(caller: Any, nobody_listens_to: Canary, kind: str) -> None:
    urls = spelled(nobody_listens_to)
    if kind == "literal":
        nodes = await saved(caller, urls, lambda url: {"type": "http_request", "parameters": {"url": url}})
    else:
        nodes = [
            {
                "id": f"n{number}",
                "on_error": "continue",
                "type": "http_request",
                "parameters": {"url": f"{{{{ $trigger.urls[{number}] }}}}"},
            }
            for number in range(len(urls))
        ]
    inputs = {"urls": urls}
    found = await failures(caller, await caller.started({"nodes": nodes}, inputs, wait_ms=20_000))
    assert len(found) == len(nodes) > 100
    wrong = {node: error for node, error in found.items() if error[0] not in ("EGRESS_BLOCKED", "PARAMETER_INVALID")}
    assert not wrong


async def test_open_and_closed_ports_get_the_same_answer(caller: Any, nobody_listens_to: Canary) -> None:
    told = []
    for port in (nobody_listens_to.port, closed_port()):
        urls = internal_urls(port)
        nodes = [
            {"id": f"n{number}", "on_error": "continue", "type": "http_request", "parameters": {"url": url}}
            for number, url in enumerate(urls[:60])
        ]
        execution_id = await caller.started({"nodes": nodes}, wait_ms=20_000)
        told.append(await failures(caller, execution_id))
    assert told[0] == told[1]


async def test_endpoints_of_webhook_nodes(caller: Any, nobody_listens_to: Canary) -> None:
    urls = spelled(nobody_listens_to)
    nodes = await saved(caller, urls, lambda url: {"type": "webhook", "parameters": {"_webhook": {"endpoint": url}}})
    found = await failures(caller, await caller.started({"nodes": nodes}, wait_ms=20_000))
    assert len(found) == len(nodes) > 60
    assert Counter(code for code, _ in found.values()) == {"EGRESS_BLOCKED": len(nodes)}


async def test_registered_nodes(caller: Any, nobody_listens_to: Canary) -> None:
    nodes = []
    for number, url in enumerate(some(nobody_listens_to, 0)):
        body = {"node_id": f"r{number}", "endpoint": url, "name": "R"}
        answer = await caller.http.post("/api/registry/nodes", json=body)
        assert answer.status_code in (200, *REFUSED), (url, answer.text)
        if answer.status_code == 200:
            target = {"_webhook": {"node_id": f"r{number}"}}
            nodes.append({"id": f"n{number}", "on_error": "continue", "type": "webhook", "parameters": target})
    found = await failures(caller, await caller.started({"nodes": nodes}, wait_ms=20_000))
    assert len(found) == len(nodes) > 20
    assert Counter(code for code, _ in found.values()) == {"EGRESS_BLOCKED": len(nodes)}


async def test_addresses_in_flows(caller: Any, nobody_listens_to: Canary) -> None:
    for number, url in enumerate(some(nobody_listens_to, 1)):
        text = f"states: [call, end]\nstate_node_map: {{call: {quoted(url)}}}\n"
        body = {"flow_id": f"f{number}", "name": "F", "yaml_content": text}
        answer = await caller.http.post("/api/registry/flows", json=body)
        assert answer.status_code in (200, *REFUSED), (url, answer.text)
        if answer.status_code == 200 and number % 4 == 0:
            begun = await caller.http.post("/api/workflow/start", json={"flow_id": f"f{number}"})
            state = (await caller.http.get(f"/api/workflow/{begun.json()['session_id']}/state")).json()
            assert (state["session_state"], state["error"]["code"]) == ("error", "EGRESS_BLOCKED"), url


async def test_subscriptions(make_caller: Any, nobody_listens_to: Canary) -> None:
    urls = some(nobody_listens_to, 2)
    for half in (urls[::2], urls[1::2]):  # a tenant has at most a hundred
        caller, webhooks = await make_caller(), []
        for url in half:
            answer = await caller.post("/webhooks", {"url": url, "events": ["execution.succeeded"]})
            assert answer.status_code in (201, *REFUSED), (url, answer.text)
            if answer.status_code == 201:
                webhooks.append(answer.json()["webhook_id"])
        await caller.started({"nodes": [{"id": "a", "type": "echo", "parameters": {}}]}, wait_ms=5000)
        for webhook_id in webhooks:
            failed = functools.partial(attempts_of_failed, caller, webhook_id)
            assert [one["error"] for one in await until(failed, "the refusal")] == ["EGRESS_BLOCKED"]


async def attempts_of_failed(caller: Any, webhook_id: str) -> Any:
    told = (await caller.get(f"/webhooks/{webhook_id}/deliveries")).json()["deliveries"]
    return told[0]["attempts"] if told and told[0]["status"] == "failed" else None


async def test_servers_of_models(house: Any, nobody_listens_to: Canary) -> None:
    told = {"headers": {"authorization": "Bearer key"}, "body": b"{}", "timeout": 5.0, "idle": 5.0}
    for url in spelled(nobody_listens_to):
        with pytest.raises(InterlockError) as refused:
            async with house.egress.open("POST", f"{url}v1/chat/completions", **told):
                pass
        assert refused.value.code == "EGRESS_BLOCKED", url


def quoted(text: str) -> str:
    """As YAML, whatever is in it."""
    letters = "".join(f"\\u{ord(letter):04x}" if letter in '"\\\r\n\t' else letter for letter in text)
    return f'"{letters}"'
