ECHO = {"nodes": [{"id": "a", "type": "echo"}]}
import asyncio
async def test_l(caller):
    large = "x" * 200_000
    eid = await caller.started(ECHO, inputs=large, wait_ms=1000)
    for _ in range(4):
        shown = (await caller.get(f"/executions/{eid}?wait_ms=1000")).json()
        print(shown["status"], shown["waiting_detail"], shown["last_seq"], str(shown["result"])[:50], str(shown["error"])[:300])
    ev=(await caller.get(f"/executions/{eid}/events")).json()["events"]
    print([(e["type"], str(e["data"])[:100], e["refs"]) for e in ev])
