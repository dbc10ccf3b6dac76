"""The registry: nodes and flows of a tenant, what is wrong with them, and what everybody has."""

from __future__ import annotations

from typing import Any

import pytest

from doors.tempo_house import Tempo
from interlock.backends.store.postgres.workflows import WorkflowQueries
from interlock.services.registry import flows, nodes

NODE = {"node_id": "svc", "endpoint": "http://example.com/webhook", "name": "Service"}
FLOW = """
name: Two
states: [a, b, end]
state_node_map: {a: builtin://echo}
user_input_states: [b]
transitions:
  - {from: a, event: STEP_DONE, to: b}
  - {from: b, event: OK, to: end}
"""


async def test_the_house_brings_nodes_and_a_flow(tempo: Tempo) -> None:
    nodes = {node["node_id"]: node for node in await tempo.get("/api/registry/nodes")}
    assert {"echo", "conditional", "transform", "http_request", "notification"} <= nodes.keys()
    assert nodes["echo"]["node_type"] == "builtin"
    assert nodes["echo"]["scope"] == "system"
    assert not {"map", "loop"} & nodes.keys()
    assert (nodes["llm_chat"]["available"], bool(nodes["llm_chat"]["reason"])) == (False, True), "without a provider"
    assert "available" not in nodes["echo"]
    flows = await tempo.get("/api/registry/flows")
    assert [(flow["flow_id"], flow["scope"]) for flow in flows] == [("echo_test_flow", "system")]
    flow = await tempo.get("/api/registry/flows/echo_test_flow")
    assert flow["states"] == ["start", "echoed", "end"]
    assert flow["state_node_map"] == {"start": "builtin://echo"}
    assert "USER_CONFIRM" in flow["yaml_content"]


async def test_a_node_is_registered_and_its_secret_shown_once(tempo: Tempo) -> None:
    first = await tempo.post("/api/registry/nodes", NODE)
    assert first.pop("callback_secret").startswith("whsec_")
    assert (first["node_type"], first["scope"], first["endpoint"]) == ("webhook", "tenant", NODE["endpoint"])
    again = await tempo.post("/api/registry/nodes", {**NODE, "name": "Other"})
    assert "callback_secret" not in again
    assert again["name"] == "Other"
    assert (await tempo.post("/api/registry/nodes", {**NODE, "rotate_secret": True}))["callback_secret"]
    listed = [node for node in await tempo.get("/api/registry/nodes") if node["node_id"] == "svc"]
    assert listed == [first]
    await tempo.call("DELETE", "/api/registry/nodes/svc", 204)
    assert (await tempo.call("DELETE", "/api/registry/nodes/svc", 404))["code"] == "NODE_NOT_FOUND"


@pytest.mark.parametrize(
    ("changes", "status", "code"),
    [
        ({"node_id": "echo"}, 409, "CONFLICT"),
        ({"node_id": "a b"}, 422, "VALIDATION_ERROR"),
        ({"endpoint": "ftp://x.example"}, 422, "VALIDATION_ERROR"),
        ({"endpoint": "http://me:you@x.example"}, 422, "VALIDATION_ERROR"),
        ({"endpoint": "nothing"}, 422, "VALIDATION_ERROR"),
        ({"secret": "short"}, 422, "VALIDATION_ERROR"),
        ({"endpoint": "http://localhost:9999/execute"}, 200, None),
    ],
)
async def test_what_a_node_may_be(tempo: Tempo, changes: dict[str, Any], status: int, code: str | None) -> None:
    answer = await tempo.post("/api/registry/nodes", {**NODE, **changes}, status)
    assert answer.get("code") == code


async def test_a_node_of_the_house_cannot_be_deleted(tempo: Tempo) -> None:
    assert (await tempo.call("DELETE", "/api/registry/nodes/echo", 403))["code"] == "AUTHORIZATION_FAILED"


async def test_a_flow_has_versions_a_graph_and_its_text(tempo: Tempo) -> None:
    first = await tempo.registered("two", FLOW)
    assert (first["flow_id"], first["name"], first["version"]) == ("two", "Flow two", 1)
    assert (await tempo.registered("two", FLOW))["version"] == 1
    assert (await tempo.registered("two", FLOW.replace("OK", "FINE")))["version"] == 2
    flow = await tempo.get("/api/registry/flows/two")
    assert flow["version"] == 2
    assert flow["initial_state"] == "a"
    assert flow["terminal_states"] == ["end"]
    assert flow["transitions"][1] == {"from": "b", "event": "FINE", "to": "end", "fan_in": False}
    assert flow["graph"]["nodes"][0] == {
        "id": "a",
        "label": "a",
        "node_ref": "builtin://echo",
        "initial": True,
        "user_input": False,
        "terminal": False,
    }
    assert flow["graph"]["edges"][0] == {"from": "a", "to": "b", "event": "STEP_DONE", "fan_in": False}
    assert flow["yaml_content"] == FLOW.replace("OK", "FINE")


async def test_a_session_keeps_the_version_it_began_with(tempo: Tempo) -> None:
    await tempo.registered("kept", FLOW)
    session_id = await tempo.started({"flow_id": "kept"})
    await tempo.registered("kept", FLOW.replace("OK", "FINE"))
    assert (await tempo.state(session_id))["valid_events"] == ["OK"]
    assert (await tempo.state(await tempo.started({"flow_id": "kept"})))["valid_events"] == ["FINE"]
    assert (await tempo.pushed(session_id, "OK"))["session_state"] == "completed"


async def test_a_tenant_may_hide_a_flow_of_the_house(tempo: Tempo) -> None:
    await tempo.started({"flow_id": "echo_test_flow"})
    await tempo.registered("echo_test_flow", "states: [x, y]")
    assert (await tempo.get("/api/registry/flows/echo_test_flow"))["scope"] == "tenant"


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("states: [a]", "Flow must have at least 2 states"),
        ("states: [a, b]\ntransitions: [{from: a, event: E, to: zz}]", "Transition to unknown state: 'zz'"),
        ("states: [a, b]\ntransitions: [{from: x, event: E, to: b}]", "Transition from unknown state: 'x'"),
        ("states: [a, b]\nstate_node_map: {a: 'builtin://no'}", "Unknown node reference: 'builtin://no'"),
        ("states: [a, b]\nstate_node_map: {a: 'webhook://no'}", "Unknown node reference: 'webhook://no'"),
    ],
)
async def test_what_is_wrong_with_a_flow_is_listed(tempo: Tempo, text: str, error: str) -> None:
    refused = await tempo.registered("wrong", text, 422)
    assert refused["code"] == "FLOW_VALIDATION_ERROR"
    assert refused["message"] == "Flow definition has validation errors"
    assert error in refused["details"]["errors"]
    assert (await tempo.get("/api/registry/flows/wrong", 404))["code"] == "FLOW_NOT_FOUND"


@pytest.mark.parametrize("text", ["a: !!python/object:os.system x", "states: [a", "a: 1\na: 2", "- 1", ""])
async def test_unsafe_yaml_is_refused(tempo: Tempo, text: str) -> None:
    assert (await tempo.registered("unsafe", text, 422))["code"] == "FLOW_VALIDATION_ERROR"


async def test_an_unknown_key_is_a_warning(tempo: Tempo) -> None:
    assert "Unknown key 'colour' is ignored" in (await tempo.registered("w", "states: [a, b]\ncolour: red"))["warnings"]


async def test_flows_may_call_registered_nodes_and_addresses(tempo: Tempo) -> None:
    await tempo.post("/api/registry/nodes", NODE)
    text = "states: [a, b, c]\nstate_node_map: {a: 'webhook://svc', b: 'https://svc.example/run'}"
    await tempo.registered("calls", text + "\ntransitions: [{from: a, event: X, to: b}, {from: b, event: X, to: c}]")
    flow = await tempo.get("/api/registry/flows/calls")
    assert flow["state_node_map"] == {"a": "webhook://svc", "b": "https://svc.example/run"}


async def test_tenants_do_not_see_each_others_registry(tempo: Tempo) -> None:
    await tempo.post("/api/registry/nodes", NODE)
    await tempo.registered("mine", FLOW)
    other = {"X-Tenant-Id": tempo.tenant_id + "-2"}
    assert (await tempo.call("GET", "/api/registry/flows/mine", 404, headers=other))["code"] == "FLOW_NOT_FOUND"
    told = {"flow_id": "mine"}
    assert (await tempo.call("POST", "/api/workflow/start", 404, json=told, headers=other))["code"] == "FLOW_NOT_FOUND"
    nodes = await tempo.call("GET", "/api/registry/nodes", headers=other)
    assert "svc" not in {node["node_id"] for node in nodes}


async def test_a_flow_that_others_register_all_the_time_is_to_be_sent_again(
    tempo: Tempo, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def was_late(*_: object) -> bool:
        return False

    await tempo.registered("busy", FLOW)
    monkeypatch.setattr(WorkflowQueries, "change_workflow", was_late)
    told = {"flow_id": "busy", "name": "Flow busy", "yaml_content": FLOW.replace("OK", "FINE")}
    answer = await tempo.http.post("/api/registry/flows", json=told)
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "1"), answer.text


async def test_a_tenant_has_so_many_nodes_and_flows_and_no_more(tempo: Tempo, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nodes, "MAX_NODES", 2)
    monkeypatch.setattr(flows, "MAX_FLOWS", 2)
    for name in ("a", "b"):
        await tempo.post("/api/registry/nodes", {**NODE, "node_id": name})
        await tempo.registered(name, FLOW)
    refused = await tempo.post("/api/registry/nodes", {**NODE, "node_id": "c"}, 409)
    assert refused["code"] == "TOO_MANY_NODES"
    assert (await tempo.registered("c", FLOW, 409))["code"] == "TOO_MANY_FLOWS"
    await tempo.post("/api/registry/nodes", {**NODE, "node_id": "a", "name": "Other"})
    await tempo.registered("a", FLOW.replace("OK", "FINE"))
    await tempo.call("DELETE", "/api/registry/nodes/a", 204)
    await tempo.post("/api/registry/nodes", {**NODE, "node_id": "c"})


async def test_versions_of_nodes_and_flows_do_not_grow_without_end(
    tempo: Tempo, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(nodes, "MAX_VERSIONS", 2)
    monkeypatch.setattr(flows, "MAX_VERSIONS", 2)
    for value in ("1", "2"):
        await tempo.post("/api/registry/nodes", {**NODE, "headers": {"X": value}})
        await tempo.registered("often", FLOW.replace("OK", "OK" + value))
    refused = await tempo.post("/api/registry/nodes", {**NODE, "headers": {"X": "3"}}, 429)
    assert refused["code"] == "TOO_MANY_VERSIONS"
    assert (await tempo.registered("often", FLOW, 409))["code"] == "TOO_MANY_VERSIONS"
    same = await tempo.post("/api/registry/nodes", {**NODE, "headers": {"X": "2"}, "name": "Other"})
    assert same["name"] == "Other", "what is no new version is taken"
    assert (await tempo.registered("often", FLOW.replace("OK", "OK2")))["version"] == 2
