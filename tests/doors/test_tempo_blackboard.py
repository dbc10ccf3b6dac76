"""Blackboards: of sessions, and of nobody."""

from __future__ import annotations

from doors.tempo_house import Tempo


async def test_a_blackboard_without_a_session(tempo: Tempo) -> None:
    path = "/api/state/test-session/my_key"
    written = await tempo.put(path, {"data": 42})
    assert written == {"session_id": "test-session", "key": "my_key", "status": "written", "version": 1}
    assert (await tempo.get(path))["value"]["data"] == 42
    assert (await tempo.put(path, None))["version"] == 2
    assert await tempo.get("/api/state/test-session") == {"session_id": "test-session", "state": {"my_key": None}}
    other = {"X-Tenant-Id": tempo.tenant_id + "-2"}
    assert (await tempo.call("GET", "/api/state/test-session", headers=other))["state"] == {}


async def test_a_write_may_name_the_version_it_has_seen(tempo: Tempo) -> None:
    path = "/api/state/board/k"
    assert (await tempo.put(path, 1, 412, if_match="3"))["code"] == "PRECONDITION_FAILED"
    await tempo.put(path, 1)
    assert (await tempo.put(path, 2, if_match='"1"'))["version"] == 2
    assert (await tempo.put(path, 3, 412, if_match="1"))["details"]["version"] == 2
    assert (await tempo.put(path, 3, 400, if_match="x"))["code"] == "INVALID_REQUEST"


async def test_a_running_session_takes_keys_and_tells_of_them(tempo: Tempo) -> None:
    session_id = await tempo.started({"flow_id": "echo_test_flow", "params": {"input": "x"}})
    path = f"/api/state/{session_id}/mine"
    version = (await tempo.put(path, [1]))["version"]
    assert (await tempo.get(path))["value"] == [1]
    assert (await tempo.put(path, [2], 412, if_match="1"))["code"] == "PRECONDITION_FAILED"
    await tempo.put(path, [2], if_match=str(version))
    assert (await tempo.board(session_id))["mine"] == [2]
    assert (await tempo.types(session_id))[5:] == ["STATE_WRITTEN", "STATE_WRITTEN"]
    await tempo.pushed(session_id, "USER_CONFIRM")
    assert (await tempo.put(path, [3], 409))["code"] == "SESSION_CLOSED"


async def test_a_key_is_read_with_its_version(tempo: Tempo) -> None:
    session_id = await tempo.started({"flow_id": "echo_test_flow", "params": {"input": "x"}})
    for board in ("scratch", session_id):
        path = f"/api/state/{board}/k"
        assert (await tempo.http.get(path)).headers["etag"] == '"0"'
        version = (await tempo.put(path, 1, if_match='"0"'))["version"]
        found = await tempo.http.get(path)
        assert (found.json()["value"], found.headers["etag"]) == (1, f'"{version}"')
    made = await tempo.http.get(f"/api/state/{session_id}/echo_result")
    assert made.headers["etag"] == '"3"', "the event of the node that wrote it"
    refused = await tempo.put(f"/api/state/{session_id}/echo_result", 1, 412, if_match="2")
    assert refused["details"]["version"] == 3


async def test_reserved_keys_and_limits(tempo: Tempo) -> None:
    for key in ("_mine", "signal:abort"):
        assert (await tempo.put(f"/api/state/board/{key}", 1, 403))["code"] == "RESERVED_KEY"
    assert (await tempo.put("/api/state/board/k", "x" * 270_000, 413))["code"] == "PAYLOAD_TOO_LARGE"
    assert (await tempo.put(f"/api/state/board/{'k' * 257}", 1, 413))["code"] == "PAYLOAD_TOO_LARGE"
    for number in range(16):
        await tempo.put(f"/api/state/large/k{number}", "x" * 262_000)
    assert (await tempo.put("/api/state/large/k16", "x" * 262_000, 413))["code"] == "PAYLOAD_TOO_LARGE"
    await tempo.put("/api/state/large/k0", "x" * 262_000)
