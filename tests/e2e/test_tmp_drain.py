import asyncio, collections, json, os, signal, tempfile
from pathlib import Path
import httpx2
from serving import Serving
SHORT = {"name": "Short", "nodes": [{"id": "a", "type": "echo"}]}

async def test_it(database):
    total = collections.Counter()
    for round in range(2):
        with tempfile.TemporaryDirectory() as folder:
            s = Serving(Path(folder), database.serve_url, "--workers", "2", INTERLOCK_LOCAL="true").ready()
            seen = collections.Counter(); before = 0
            loop = asyncio.get_running_loop(); t = None
            c = s.client(); wf = (await c.post("/api/app/workflows", json=SHORT)).json()["workflow_id"]; await c.aclose()
            req = (f"POST /api/app/workflows/{wf}/execute HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {s.token}\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{{}}").encode()
            async def client(fresh):
                nonlocal before
                r = w = None
                while True:
                    stage = "connect"; uses = 0
                    try:
                        if w is None:
                            r, w = await asyncio.open_connection("127.0.0.1", s.port)
                            uses = 0
                        stage = "send"
                        w.write(req); 
                        stage = "read"
                        head = await r.readuntil(b"\r\n\r\n")
                        low = head.lower()
                        n = int(low.split(b"content-length: ")[1].split(b"\r\n")[0])
                        await r.readexactly(n)
                        uses += 1
                        if t: seen[head[9:12].decode()] += 1
                        else: before += 1
                        if fresh or b"connection: close" in low:
                            w.close(); w = None
                    except ConnectionRefusedError:
                        seen["refused"] += 1; break
                    except (OSError, asyncio.IncompleteReadError) as e:
                        seen[f"{type(e).__name__} {stage} fresh={fresh}"] += 1
                        print("   ", f"{loop.time()-(t or 0):.2f}", type(e).__name__, stage, fresh, uses)
                        w = None
            tasks = [asyncio.create_task(client(n % 2)) for n in range(30)]
            await asyncio.sleep(3)
            t = loop.time()
            s.process.send_signal(signal.SIGTERM)
            code = await asyncio.to_thread(s.process.wait, 60)
            took = loop.time() - t
            await asyncio.wait(tasks, timeout=20)
            for x in tasks: x.cancel()
            s.stop()
            print(round, code, before, f"{took:.1f}", dict(seen))
            total += seen
    print(dict(total))
