"""No field that takes a URL leads inside, however the address is written: neither when it is saved nor when it is used.

The operator of this server allows no private address. What was saved before that was so is refused when it is called;
an open port and a closed one get the same answer. Fields where each address costs several requests are tried with
every fourth of them, and with all of them at length.
"""

from __future__ import annotations

import functools
import re
from collections import Counter
from collections.abc import AsyncIterator, Callable
from typing import Any

import httpx2
import pytest

from address_house import Canary, canary, closed_port, internal_urls
from figures import Note
from interlock.backends.egress.address import AddressPolicy
from interlock.core.errors import InterlockError
from webhook_house import until

REFUSED = (400, 422)


@pytest.fixture
async def nobody_listens_to(house: Any, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Canary]:
    """The canary, beside a server that may not reach it; what is saved was so while every address was allowed."""
    monkeypatch.setattr(house.egress._connector._policy, "_allowed", ())
    monkeypatch.setattr(house.check_url, "_policy", AddressPolicy(("0.0.0.0/0", "::/0")))
    async with canary() as found:
        yield found
        assert found.connections == 0


@pytest.fixture
async def refused_at_once(
    house: Any, nobody_listens_to: Canary, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., None]:
    """The same server, whose operator never allowed anything; judges the answer to what names an address."""
    monkeypatch.setattr(house.check_url, "_policy", AddressPolicy())

    def judge(answer: httpx2.Response, url: str, *told: str) -> None:
        assert answer.status_code in REFUSED, (url, answer.text)
        for word in told:
            assert word in answer.text, (url, answer.text)

    return judge


def spelled(found: Canary) -> list[str]:
    return internal_urls(found.port)


def some(found: Canary, first: int, *, all_of_them: bool) -> list[str]:
    return spelled(found) if all_of_them else spelled(found)[first::4]


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


async def test_none_of_them_is_saved(
    caller: Any, nobody_listens_to: Canary, refused_at_once: Callable[..., None], note_figures: Note
) -> None:
    """J1, at save: subscriptions, registered nodes, addresses in flows, and in nodes of workflows."""
    for number, url in enumerate(spelled(nobody_listens_to)):
        webhook = {"url": url, "events": ["*"]}
        refused_at_once(await caller.post("/webhooks", webhook), url, "VALIDATION_ERROR", '"field":"url"')
        node = {"node_id": f"r{number}", "endpoint": url, "name": "R"}
        refused_at_once(await caller.http.post("/api/registry/nodes", json=node), url, '"field":"endpoint"')
        flow = {"flow_id": f"f{number}", "name": "F", "yaml_content": calling(url)}
        refused_at_once(await caller.http.post("/api/registry/flows", json=flow), url, "FLOW_VALIDATION_ERROR")
        for parameters, kind in (({"_webhook": {"endpoint": url}}, "webhook"), ({"url": url}, "http_request")):
            nodes = [{"id": "a", "type": kind, "parameters": parameters}]
            answer = await caller.post("/workflows", {"name": "Test", "nodes": nodes})
            refused_at_once(answer, url, "nodes[0].parameters")
    assert (await caller.get("/webhooks")).json()["total"] == 0
    spellings = len(spelled(nobody_listens_to))
    note_figures(address_spellings=spellings, address_tries=5 * spellings)


async def test_what_was_saved_is_not_changed_to_one_of_them(
    caller: Any, house: Any, refused_at_once: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """J1, at save: a node that is registered anew, a workflow's next version, a webhook that is turned on again."""
    inside, outside = "http://10.0.0.1/", "https://example.com/"
    called = {"name": "T", "nodes": [{"id": "a", "type": "webhook", "parameters": {"_webhook": {"endpoint": outside}}}]}
    workflow_id = await caller.stored(called)
    called["nodes"][0]["parameters"]["_webhook"]["endpoint"] = inside
    refused_at_once(await caller.put(f"/workflows/{workflow_id}", called), inside, "10.0.0.1", "INTERLOCK_EGRESS_ALLOW")
    for url, is_good in ((outside, True), (inside, False)):
        node = {"node_id": "r", "endpoint": url, "name": "R"}
        answer = await caller.http.post("/api/registry/nodes", json=node)
        assert answer.status_code == 200 if is_good else "10.0.0.1" in answer.text
    monkeypatch.setattr(house.check_url, "_policy", AddressPolicy(("10.0.0.0/8",)))
    webhook = (await caller.post("/webhooks", {"url": inside, "events": ["execution.failed"]})).json()
    path = f"/api/app/webhooks/{webhook['webhook_id']}"
    monkeypatch.setattr(house.check_url, "_policy", AddressPolicy())
    assert (await caller.http.patch(path, json={"is_active": False})).status_code == 200
    refused_at_once(await caller.http.patch(path, json={"is_active": True}), inside, '"field":"url"', "10.0.0.1")


async def test_in_local_mode_this_machine_may_be_named_and_no_other(caller: Any) -> None:
    for url, status in (
        ("http://127.0.0.1:9/x", 201),
        ("http://localhost:9/x", 201),
        ("http://[::1]:9/x", 201),
        ("http://10.0.0.1/x", 400),
        ("http://169.254.169.254/x", 400),
    ):
        answer = await caller.post("/webhooks", {"url": url, "events": ["execution.failed"]})
        assert answer.status_code == status, (url, answer.text)


@pytest.mark.parametrize("kind", ["literal", "expression"])
async def test_http_request(caller: Any, nobody_listens_to: Canary, kind: str, note_figures: Note) -> None:
    """J1."""
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
    assert len(found) == len(nodes) > 80
    wrong = {node: error for node, error in found.items() if error[0] not in ("EGRESS_BLOCKED", "PARAMETER_INVALID")}
    assert not wrong
    note_figures(address_tries=len(nodes))


async def test_open_and_closed_ports_get_the_same_answer(caller: Any, nobody_listens_to: Canary) -> None:
    """J1."""
    told = []
    for port in (nobody_listens_to.port, closed_port()):
        urls = internal_urls(port)[:60]
        nodes = await saved(caller, urls, lambda url: {"type": "http_request", "parameters": {"url": url}})
        execution_id = await caller.started({"nodes": nodes}, wait_ms=20_000)
        told.append(await failures(caller, execution_id))
    assert told[0] == told[1]


async def test_endpoints_of_webhook_nodes(caller: Any, nobody_listens_to: Canary, note_figures: Note) -> None:
    """J1."""
    urls = spelled(nobody_listens_to)
    nodes = await saved(caller, urls, lambda url: {"type": "webhook", "parameters": {"_webhook": {"endpoint": url}}})
    found = await failures(caller, await caller.started({"nodes": nodes}, wait_ms=20_000))
    assert len(found) == len(nodes) > 60
    assert Counter(code for code, _ in found.values()) == {"EGRESS_BLOCKED": len(nodes)}
    note_figures(address_tries=len(nodes))


async def test_registered_nodes(caller: Any, nobody_listens_to: Canary, note_figures: Note, *, at_length: bool) -> None:
    """J1."""
    nodes = []
    for number, url in enumerate(some(nobody_listens_to, 0, all_of_them=at_length)):
        body = {"node_id": f"r{number}", "endpoint": url, "name": "R"}
        answer = await caller.http.post("/api/registry/nodes", json=body)
        assert answer.status_code in (200, *REFUSED), (url, answer.text)
        if answer.status_code == 200:
            target = {"_webhook": {"node_id": f"r{number}"}}
            nodes.append({"id": f"n{number}", "on_error": "continue", "type": "webhook", "parameters": target})
    found = await failures(caller, await caller.started({"nodes": nodes}, wait_ms=20_000))
    assert len(found) == len(nodes) > 20
    assert Counter(code for code, _ in found.values()) == {"EGRESS_BLOCKED": len(nodes)}
    note_figures(address_tries=len(nodes))


async def test_addresses_in_flows(
    caller: Any, nobody_listens_to: Canary, note_figures: Note, *, at_length: bool
) -> None:
    """J1."""
    called = 0
    for number, url in enumerate(some(nobody_listens_to, 1, all_of_them=at_length)):
        body = {"flow_id": f"f{number}", "name": "F", "yaml_content": calling(url)}
        answer = await caller.http.post("/api/registry/flows", json=body)
        assert answer.status_code in (200, *REFUSED), (url, answer.text)
        if answer.status_code == 200 and (at_length or number % 4 == 0):
            begun = await caller.http.post("/api/workflow/start", json={"flow_id": f"f{number}"})
            state = (await caller.http.get(f"/api/workflow/{begun.json()['session_id']}/state")).json()
            assert (state["session_state"], state["error"]["code"]) == ("error", "EGRESS_BLOCKED"), url
            called += 1
    note_figures(address_tries=called)


async def test_subscriptions(
    make_caller: Any, nobody_listens_to: Canary, note_figures: Note, *, at_length: bool
) -> None:
    """J1."""
    urls = some(nobody_listens_to, 2, all_of_them=at_length)
    called = 0
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
        called += len(webhooks)
    note_figures(address_tries=called)


async def attempts_of_failed(caller: Any, webhook_id: str) -> Any:
    told = (await caller.get(f"/webhooks/{webhook_id}/deliveries")).json()["deliveries"]
    return told[0]["attempts"] if told and told[0]["status"] == "failed" else None


async def test_servers_of_models(house: Any, nobody_listens_to: Canary, note_figures: Note) -> None:
    """J1."""
    told = {"headers": {"authorization": "Bearer key"}, "body": b"{}", "timeout": 5.0, "idle": 5.0}
    for url in spelled(nobody_listens_to):
        with pytest.raises(InterlockError) as refused:
            async with house.egress.open("POST", f"{url}v1/chat/completions", **told):
                pass
        assert refused.value.code == "EGRESS_BLOCKED", url
    note_figures(address_tries=len(spelled(nobody_listens_to)))


def calling(url: str) -> str:
    """A flow whose one step calls an address, whatever is in it."""
    return f"states: [call, end]\nstate_node_map: {{call: {quoted(url)}}}\n"


def quoted(text: str) -> str:
    """As YAML, whatever is in it."""
    letters = "".join(f"\\u{ord(letter):04x}" if letter in '"\\\r\n\t' else letter for letter in text)
    return f'"{letters}"'
