import random
D = {"nodes": [{"id": "each", "type": "map", "parameters": {"items": "{{ range($json) }}"}}, {"id": "one", "type": "echo"}],
     "connections": [{"from_node":"each","to_node":"one","output_key":"iteration"},{"from_node":"one","to_node":"each"}]}
D = {"nodes": [{"id": "each", "type": "map", "parameters": {"items": "{{ $json }}"}}, {"id": "one", "type": "echo"}],
     "connections": [{"from_node":"each","to_node":"one","output_key":"iteration"},{"from_node":"one","to_node":"each"}]}
async def test_l(caller):
    bad=0
    for k in range(15):
        n=6
        items=[str(random.random())+"x"*random.choice([100,70_000,150_000]) for _ in range(n)]
        eid = await caller.started(D, inputs=items, wait_ms=8000)
        s=(await caller.get(f"/executions/{eid}?wait_ms=3000")).json()
        ev=(await caller.get(f"/executions/{eid}/events?limit=1000")).json()["events"]
        seqs=[e["seq"] for e in ev]
        if seqs!=list(range(1,17)) or s["status"]!="SUCCESS":
            bad+=1; print("RUN", s["status"], s["error"], seqs)
    print("RUN bad", bad)
