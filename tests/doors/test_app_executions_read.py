"""What an execution of the app door did is read in pages, whole, and by nobody else."""

from __future__ import annotations

from typing import Any

import pytest

from interlock.core.principal import Scope

ECHO: dict[str, Any] = {"nodes": [{"id": "a", "type": "echo"}]}
WAITS: dict[str, Any] = {"nodes": [{"id": "w", "type": "wait", "parameters": {"signal": "go"}}]}


async def test_a_cursor_walks_through_all_pages(caller: Any) -> None:
    workflow_id = await caller.stored(ECHO)
    for _ in range(5):
        await caller.post(f"/workflows/{workflow_id}/execute", {"wait_ms": 5_000})
    seen: list[str] = []
    cursor = ""
    for _ in range(3):
        page = (await caller.get(f"/executions?limit=2{cursor}")).json()
        seen += [item["execution_id"] for item in page["executions"]]
        cursor = f"&cursor={page['next_cursor']}"
    assert len(set(seen)) == 5
    assert (page["has_more"], page["next_cursor"]) == (False, None)
    assert seen == sorted(seen, reverse=True)


async def test_a_map_shows_one_node_execution_per_item(caller: Any) -> None:
    definition = {
        "nodes": [
            {"id": "each", "type": "map", "parameters": {"items": "{{ $json }}"}},
            {"id": "one", "type": "transform", "parameters": {"mapping": "{{ $loop.item * 2 }}"}},
        ],
        "connections": [
            {"from_node": "each", "to_node": "one", "output_key": "iteration"},
            {"from_node": "one", "to_node": "each"},
        ],
    }
    execution_id = await caller.started(definition, inputs=[1, 2, 3], wait_ms=5_000)
    shown = (await caller.get(f"/executions/{execution_id}")).json()
    assert (shown["status"], shown["result"]) == ("SUCCESS", [2, 4, 6])
    assert [node["task_id"] for node in shown["node_executions"]] == [
        "each",
        "each[0]/one",
        "each[1]/one",
        "each[2]/one",
    ]


async def test_nodes_that_have_not_begun_are_pending_until_the_end(caller: Any) -> None:
    definition = {
        "nodes": [*WAITS["nodes"], {"id": "after", "type": "echo"}],
        "connections": [{"from_node": "w", "to_node": "after"}],
    }
    execution_id = await caller.started(definition, wait_ms=5_000)
    shown = (await caller.get(f"/executions/{execution_id}")).json()
    assert [(node["node_id"], node["status"]) for node in shown["node_executions"]] == [
        ("w", "running"),
        ("after", "pending"),
    ]
    assert shown["current_node_id"] == "w"
    await caller.post(f"/executions/{execution_id}/cancel")
    shown = (await caller.get(f"/executions/{execution_id}")).json()
    assert [(node["node_id"], node["status"]) for node in shown["node_executions"]] == [("w", "failed")]
    assert shown["node_executions"][0]["error"]["code"] == "CANCELED"


async def test_a_value_too_large_for_the_log_is_shown_whole(caller: Any) -> None:
    large = "x" * 200_000
    execution_id = await caller.started(ECHO, inputs=large, wait_ms=5_000)
    shown = (await caller.get(f"/executions/{execution_id}")).json()
    assert shown["result"] == {"echo": large}
    assert shown["node_executions"][0]["output_data"] == {"echo": large}
    events = (await caller.get(f"/executions/{execution_id}/events")).json()["events"]
    assert any(event["refs"] for event in events)


async def test_large_results_of_parallel_nodes_leave_a_log_without_gaps(caller: Any) -> None:
    definition = {
        "nodes": [
            {"id": "each", "type": "map", "parameters": {"items": "{{ $json }}"}},
            {"id": "one", "type": "echo"},
        ],
        "connections": [
            {"from_node": "each", "to_node": "one", "output_key": "iteration"},
            {"from_node": "one", "to_node": "each"},
        ],
    }
    for turn in range(5):
        items = [
            f"{turn}/{place}/" + "x" * size for place, size in enumerate([150_000, 100, 70_000, 150_000, 100, 70_000])
        ]
        execution_id = await caller.started(definition, inputs=items, wait_ms=5_000)
        shown = (await caller.get(f"/executions/{execution_id}?wait_ms=5000")).json()
        events = (await caller.get(f"/executions/{execution_id}/events?limit=1000")).json()["events"]
        assert shown["status"] == "SUCCESS"
        assert [event["seq"] for event in events] == list(range(1, 17))


async def test_events_come_in_pages_without_gaps(caller: Any) -> None:
    execution_id = await caller.started(ECHO, wait_ms=5_000)
    first = (await caller.get(f"/executions/{execution_id}/events?limit=2")).json()
    rest = (await caller.get(f"/executions/{execution_id}/events?after={first['next_after']}")).json()
    events = first["events"] + rest["events"]
    assert [event["seq"] for event in events] == list(range(1, len(events) + 1))
    assert (first["has_more"], rest["has_more"], rest["next_after"]) == (True, False, None)
    assert (events[0]["type"], events[-1]["type"]) == ("execution.started", "execution.succeeded")
    assert all(event["trace_id"] for event in events)


async def test_artifacts_are_listed_and_downloaded_as_files(caller: Any) -> None:
    page = {"name": "report 1.html", "content": "<script>alert(1)</script>"}
    execution_id = await caller.started(
        {"nodes": [{"id": "a", "type": "write_artifact", "parameters": page}]}, wait_ms=5_000
    )
    listed = (await caller.get(f"/executions/{execution_id}/artifacts")).json()
    (artifact,) = listed["artifacts"]
    assert (artifact["name"], artifact["size"], listed["total_count"]) == ("report 1.html", 25, 1)
    assert artifact["url"] == f"/api/app/executions/{execution_id}/artifacts/report%201.html"
    content = await caller.http.get(artifact["url"])
    assert content.text == "<script>alert(1)</script>"
    assert content.headers["content-disposition"] == "attachment; filename*=UTF-8''report%201.html"
    assert content.headers["x-content-type-options"] == "nosniff"
    assert "sandbox" in content.headers["content-security-policy"]
    for name in ("other.md", "..", "%2e%2e%2fsecret"):
        assert (await caller.get(f"/executions/{execution_id}/artifacts/{name}")).status_code in (200, 404)
    assert (await caller.get(f"/executions/{execution_id}/artifacts/other.md")).status_code == 404


async def test_an_unchanged_execution_is_not_sent_again(caller: Any) -> None:
    execution_id = await caller.started(WAITS, wait_ms=5_000)
    first = await caller.get(f"/executions/{execution_id}")
    assert (
        await caller.get(f"/executions/{execution_id}", headers={"if-none-match": first.headers["etag"]})
    ).status_code == 304
    await caller.post(f"/executions/{execution_id}/signal", {"name": "go"})
    changed = await caller.get(f"/executions/{execution_id}", headers={"if-none-match": first.headers["etag"]})
    assert changed.status_code == 200


async def test_every_door_to_a_foreign_execution_is_closed_alike(caller: Any, make_caller: Any) -> None:
    execution_id = await caller.started(WAITS, wait_ms=5_000)
    for stranger in (await make_caller(), await make_caller(caller.tenant_id)):
        for answer in (
            await stranger.get(f"/executions/{execution_id}"),
            await stranger.get(f"/executions/{execution_id}?wait_ms=10"),
            await stranger.get(f"/executions/{execution_id}/events"),
            await stranger.get(f"/executions/{execution_id}/artifacts"),
            await stranger.get(f"/executions/{execution_id}/artifacts/x"),
            await stranger.get(f"/executions/{execution_id}/stream"),
            await stranger.post(f"/executions/{execution_id}/cancel"),
            await stranger.post(f"/executions/{execution_id}/pause"),
            await stranger.post(f"/executions/{execution_id}/resume"),
            await stranger.post(f"/executions/{execution_id}/signal", {"name": "go"}),
        ):
            assert (answer.status_code, answer.json()["error_code"]) == (404, "NOT_FOUND")
    assert (await caller.get(f"/executions/{execution_id}")).json()["status"] == "WAITING"


@pytest.mark.parametrize(
    ("scope", "method", "path"),
    [
        (Scope.EXECUTIONS_READ, "GET", "/executions"),
        (Scope.EXECUTIONS_READ, "GET", "/executions/x/stream"),
        (Scope.EXECUTIONS_CANCEL, "POST", "/executions/x/cancel"),
        (Scope.EXECUTIONS_SIGNAL, "POST", "/executions/x/signal"),
        (Scope.EXECUTIONS_SIGNAL, "POST", "/executions/x/pause"),
    ],
)
async def test_each_verb_needs_its_scope(make_caller: Any, scope: Scope, method: str, path: str) -> None:
    limited = await make_caller(scopes=frozenset(Scope) - {scope, Scope.ADMIN})
    answer = await limited.http.request(method, f"/api/app{path}")
    assert (answer.status_code, answer.json()["required_scopes"]) == (403, [scope])
