"""A1: two servers under load, one of them killed with SIGKILL every few seconds."""

from __future__ import annotations

from crash.judge import check_all
from crash.load import Load
from crash.nemesis import Nemesis, recovery_times
from crash.stage import Stage
from crash.verdict import percentile
from crash.workflows import chain

TITLE = "two servers, kill -9 every 5 to 9 s"
STEPS = 5
STEP_DELAY = 0.2
PROMISED_RECOVERY = 10.0
PROMISED_DRAIN = 60.0


async def run(stage: Stage) -> None:
    """Load and kills at once, then heal, drain and compare."""
    verdict, scale = stage.verdict, stage.scale
    for name in ("one", "two"):
        await stage.add_server(name)
    workflow_id = await stage.store(chain(stage.sink, STEPS, STEP_DELAY))
    load, nemesis = Load(stage, workflow_id, scale.a1_rate), Nemesis(stage)
    load.begin()
    await nemesis.rage(scale.a1_seconds)
    await load.end()
    drain = await stage.drain(PROMISED_DRAIN)
    await check_all(stage, load, [f"s{number}" for number in range(1, STEPS + 1)])
    await stage.prove_health(workflow_id)

    times = await recovery_times(stage.observer, nemesis.kills)
    at_work = sum(bool(kill.owned) for kill in nemesis.kills)
    verdict.injections |= {"kills": len(nemesis.kills), "kills_with_work_in_flight": at_work}
    verdict.counts |= {
        "executions_taken_over": sum(len(kill.owned) for kill in nemesis.kills),
        "calls_repeated_by_clients": stage.client.unclear,
    }
    verdict.figures |= {
        "recovery_p50_s": round(percentile(times, 0.50), 2),
        "recovery_p95_s": round(percentile(times, 0.95), 2),
        "recovery_max_s": round(max(times, default=0.0), 2),
        "drain_s": round(drain, 2),
        "bound_3_over_n": round(3 / max(1, verdict.counts["steps"]), 6),
    }
    p95 = verdict.figures["recovery_p95_s"]
    verdict.expect(f"recovery p95 is at most {PROMISED_RECOVERY:g} s", p95 <= PROMISED_RECOVERY, p95)
    kills = len(nemesis.kills)
    verdict.prove(f"at least {scale.a1_least_kills} kills", kills >= scale.a1_least_kills, kills)
    verdict.prove("most kills hit work in flight", at_work * 2 > kills, at_work)
    verdict.prove("recovery was measured", len(times) * 2 > kills, len(times))
