async def test_smoke(caller, nobody):
    r = await nobody.get("/"); print(r.status_code, r.headers, r.text)
    for p in ("/health","/live","/ready","/version","/docs","/metrics","/nope"):
        r = await nobody.get(p); print(p, r.status_code, r.headers.get("content-type"), r.text[:300])
    r = await caller.post("/workflows", {"name":"w","nodes":[{"id":"t","name":"start","type":"TRIGGER_NODE","subtype":"MANUAL"},{"id":"i","name":"big","type":"FLOW","subtype":"IF","parameters":{"condition_expression":"data.n > 10"}},{"id":"h","name":"ok","type":"HUMAN_IN_THE_LOOP","subtype":"IN_APP_APPROVAL","configurations":{"title":"Pay?"}}],
  "connections":{"start":{"main":[[{"node":"big","type":"main","index":0}]]},"big":{"true":[{"node":"ok","port":"main"}]}}})
    print(r.status_code, r.text)
    wid = r.json()["workflow_id"]
    r = await caller.post(f"/workflows/{wid}/execute", {"inputs":{"n":11}, "wait_ms": 2000})
    print(r.status_code, r.text)
    eid = r.json()["execution_id"]
    r = await caller.get(f"/executions/{eid}"); print(r.status_code, r.text)
    aid = r.json()["pending_approvals"][0]["approval_id"]
    r = await caller.post(f"/approvals/{aid}/decide", {"decision":"approve"}); print(r.status_code, r.text)
    r = await caller.post(f"/approvals/{aid}/decide", {"decision":"approve"}); print(r.status_code, r.text)
    r = await caller.post(f"/approvals/{aid}/decide", {"decision":"reject"}); print(r.status_code, r.text)
    r = await caller.get(f"/executions/{eid}?wait_ms=2000"); print(r.status_code, r.text)
    r = await caller.get(f"/executions/{eid}/stream"); print(r.status_code, r.headers, r.text)
    r = await caller.get(f"/executions/{eid}/events"); print(r.status_code, r.text[:500])
