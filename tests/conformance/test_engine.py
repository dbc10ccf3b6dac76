"""The runtime on a real Postgres: starts, ownership, inboxes, approvals, children, large values, bad values."""

from __future__ import annotations

import asyncio
from uuid import UUID

import msgspec
import pytest

from engine_house import ASK, Gate, House, chain, node, signal
from interlock.backends.store.postgres.ledger import PostgresLedger
from interlock.core.approval import ApprovalStatus, Decision
from interlock.core.errors import ErrorKind, InterlockError
from interlock.core.ids import ApprovalId
from interlock.core.workflow import ConnectionDefinition, GraphDefinition
from interlock.ports.engine import Key
from interlock.ports.ledger import Flush, FlushResult, OutcomeUnknown


async def approval_of(house: House, execution_id: UUID) -> ApprovalId:
    rows = await house.rows("select approval_id from interlock.approvals where execution_id = $1", execution_id)
    return ApprovalId(rows[0][0])


YES = Decision(status=ApprovalStatus.APPROVED, decision="approve")
NO = Decision(status=ApprovalStatus.DENIED, decision="reject")


async def test_a_chain_runs_to_its_end_and_its_log_has_no_gap(house: House) -> None:
    engine = await house.engine()
    add = {"mapping": {"v": "{{ $json.v + 1 }}"}}
    standing = await house.start(engine, chain(node("a", **add), node("b", **add)), input={"v": 1})
    assert (standing.status, standing.output) == ("succeeded", {"v": 3})
    log = await house.log(standing.execution_id)
    assert [seq for seq, _ in log] == list(range(1, 7))
    assert await house.rows("select 1 from interlock.live") == []


async def test_the_same_key_is_one_execution_however_many_ask(house: House) -> None:
    first, second = await house.engine(), await house.engine("other")
    workflow = await house.workflow(chain(node("a")))
    starts = [(first, second)[index % 2].start(house.request(workflow, key="once", input=1)) for index in range(20)]
    answers = await asyncio.gather(*starts)
    assert len({answer.execution_id for answer in answers}) == 1
    assert sum(not answer.is_replay for answer in answers) == 1
    assert {answer.status for answer in answers} == {"succeeded"}
    assert len(await house.rows("select 1 from interlock.executions")) == 1


async def test_the_same_key_with_another_body_is_refused(house: House) -> None:
    engine = await house.engine()
    workflow = await house.workflow(chain(node("a")))
    await engine.start(house.request(workflow, key="k"))
    with pytest.raises(InterlockError) as refused:
        await engine.start(house.request(workflow, key=Key("test", "k", "another digest")))
    assert refused.value.kind is ErrorKind.MISMATCH


async def test_what_finds_no_slot_is_queued_and_goes_on_when_one_is_free(house: House) -> None:
    gate = Gate()
    engine = await house.engine(nodes=(gate,), slots=1)
    busy = await house.start(engine, chain(node("g", "gate")), wait=0)
    queued = await house.start(engine, chain(node("a")), wait=0)
    assert (busy.status, queued.status, queued.waiting_reason) == ("running", "queued", "slot")
    gate.opened.set()
    standing = await engine.standing(queued.execution_id, 10)
    assert standing.status == "succeeded"


async def test_a_tenant_over_its_cap_waits_while_others_go_on(house: House) -> None:
    gate = Gate()
    engine = await house.engine(nodes=(gate,), tenant_cap=1)
    await house.start(engine, chain(node("g", "gate")), wait=0)
    await gate.entered.wait()
    queued = await house.start(engine, chain(node("a")), wait=0)
    assert queued.status == "queued"
    assert (await engine.standing(queued.execution_id, 0)).waiting_reason == "tenant_cap"
    gate.opened.set()
    assert (await engine.standing(queued.execution_id, 10)).status == "succeeded"


async def test_a_waiting_execution_leaves_memory_and_comes_back_with_its_signal(house: House) -> None:
    engine = await house.engine()
    standing = await house.start(engine, chain(node("w", "wait", signal="go"), node("b")))
    assert (standing.status, standing.waiting_reason) == ("waiting", "signal")
    assert engine.runner.owned == {}
    outcome = await engine.signal(signal(house, standing.execution_id, "go", {"x": 1}))
    assert outcome.first_seq is not None
    done = await engine.standing(standing.execution_id, 10)
    assert (done.status, done.output) == ("succeeded", {"x": 1})


async def test_a_signal_reaches_an_execution_that_another_process_owns(house: House) -> None:
    gate = Gate()
    owner = await house.engine("owner", nodes=(gate,))
    graph = GraphDefinition(nodes=(node("g", "gate"), node("w", "wait", signal="go")))
    standing = await house.start(owner, graph, wait=0)
    await gate.entered.wait()
    other = await house.engine("other", nodes=(Gate(),))
    outcome = await other.signal(signal(house, standing.execution_id, "go", 7))
    assert not outcome.pending
    gate.opened.set()
    assert (await other.standing(standing.execution_id, 10)).status == "succeeded"


async def test_a_signal_with_a_known_key_is_the_same_signal(house: House) -> None:
    engine = await house.engine()
    waits = chain(node("w", "wait", signal="go"), node("v", "wait", signal="go"))
    standing = await house.start(engine, waits)
    first = await engine.signal(signal(house, standing.execution_id, "go", dedupe_key="d1"))
    again = await engine.signal(signal(house, standing.execution_id, "go", dedupe_key="d1"))
    assert again == msgspec.structs.replace(first, is_replay=True)
    rows = await house.rows("select 1 from interlock.inbox where execution_id = $1", standing.execution_id)
    assert len(rows) == 1
    assert (await engine.standing(standing.execution_id, 0)).status == "waiting"


async def test_parking_and_signals_never_lose_each_other(house: House) -> None:
    """Every signal moves the execution one wait on; a lost one would leave it waiting for ever."""
    engine, other = await house.engine(), await house.engine("other")
    waits = chain(*(node(f"w{index}", "wait", signal="go") for index in range(40)))
    standing = await house.start(engine, waits)
    senders = [
        (engine, other)[index % 2].signal(signal(house, standing.execution_id, "go", index)) for index in range(40)
    ]
    await asyncio.gather(*senders)
    assert (await engine.standing(standing.execution_id, 10)).status == "succeeded"
    log = await house.log(standing.execution_id)
    assert [seq for seq, _ in log] == list(range(1, len(log) + 1))


async def test_executions_of_a_dead_process_go_on_and_its_late_result_is_not_recorded(house: House) -> None:
    gate, fresh = Gate(), Gate()
    zombie = await house.engine("zombie", nodes=(gate,))
    standing = await house.start(zombie, chain(node("g", "gate"), node("b")), wait=0)
    await gate.entered.wait()
    heir = await house.engine("heir", nodes=(fresh,))
    await house.kill(zombie)
    await asyncio.wait_for(fresh.entered.wait(), 10)
    gate.opened.set()  # the zombie's own attempt ends now
    fresh.opened.set()
    done = await heir.standing(standing.execution_id, 10)
    assert (done.status, done.output) == ("succeeded", {"by": 2})
    types = [kind for _, kind in await house.log(standing.execution_id)]
    assert types.count("task.completed") == 2
    assert gate.attempts[0].effect_key == fresh.attempts[0].effect_key
    await house.until(lambda: zombie.is_ready()["journal"], "the zombie registers anew")
    assert zombie.runner.owned == {}


async def test_only_one_of_several_processes_owns_what_is_free(house: House) -> None:
    gates = [Gate() for _ in range(3)]
    first = await house.engine("e0", nodes=(gates[0],))
    ids = [(await house.start(first, chain(node("g", "gate")), wait=0)).execution_id for _ in range(20)]
    others = [await house.engine(f"e{index}", nodes=(gates[index],)) for index in (1, 2)]
    await house.kill(first)

    async def all_started() -> bool:
        return sum(len(gate.attempts) for gate in gates[1:]) + len(gates[0].attempts) - 20 >= 20

    await house.until(all_started, "all executions were taken over")
    for gate in gates:
        gate.opened.set()
    for execution_id in ids:
        assert (await others[0].standing(execution_id, 10)).status == "succeeded"
    rows = await house.rows(
        "select execution_id from interlock.events where type = 'task.completed' group by 1 having count(*) <> 1"
    )
    assert rows == []


class LosesAnswers(PostgresLedger):
    """Commits, and then tells nobody, as a connection that breaks at the wrong moment does."""

    lose = 0

    async def flush(self, runner_id: int, flush: Flush) -> FlushResult:
        result = await super().flush(runner_id, flush)
        if self.lose:
            self.lose -= 1
            raise OutcomeUnknown("the answer was lost")
        return result


async def test_a_flush_whose_answer_was_lost_is_committed_once(house: House) -> None:
    ledger = LosesAnswers(house.database.serve_url)
    engine = await house.engine(ledger=ledger)
    for lose in (1, 2):
        ledger.lose = lose
        standing = await house.start(engine, chain(node("a"), node("b")), input=lose, key=f"key-{lose}")
        assert (standing.status, standing.output, standing.is_replay) == ("succeeded", lose, False)
        log = await house.log(standing.execution_id)
        assert [seq for seq, _ in log] == list(range(1, 7))


async def test_a_lost_answer_to_parking_keeps_the_execution_alive(house: House) -> None:
    ledger = LosesAnswers(house.database.serve_url)
    engine = await house.engine(ledger=ledger)
    workflow = await house.workflow(chain(node("a"), node("w", "wait", signal="go")))
    ledger.lose = 3
    standing = await engine.start(house.request(workflow))
    assert standing.status == "waiting"
    await engine.signal(signal(house, standing.execution_id, "go", "x"))
    assert (await engine.standing(standing.execution_id, 10)).output == "x"


async def test_one_bad_value_fails_alone(house: House) -> None:
    """Postgres refuses a NUL in a text: the flush is split until the entry that has it is alone."""
    engine = await house.engine()
    workflow = await house.workflow(chain(node("a")))
    good = [engine.start(house.request(workflow, input=index)) for index in range(10)]
    bad = engine.start(house.request(workflow, trace_id="bad\0trace"))
    *answers, refused = await asyncio.gather(*good, bad, return_exceptions=True)
    assert [answer.status for answer in answers if not isinstance(answer, BaseException)] == ["succeeded"] * 10
    assert isinstance(refused, InterlockError)
    assert refused.kind is ErrorKind.UNAVAILABLE


async def test_large_values_become_blobs_and_survive_a_takeover(house: House) -> None:
    gate, fresh = Gate(), Gate()
    first = await house.engine("first", nodes=(gate,))
    large = {"text": "x" * 300_000}
    graph = chain(node("a"), node("g", "gate"), node("b", mapping="{{ len($trigger.text) }}"))
    standing = await house.start(first, graph, input=large, wait=0)
    await asyncio.wait_for(gate.entered.wait(), 10)
    rows = await house.rows("select max(length(data::text)) from interlock.events")
    assert rows[0][0] < 70_000
    second = await house.engine("second", nodes=(fresh,))
    await house.kill(first)
    await asyncio.wait_for(fresh.entered.wait(), 10)
    fresh.opened.set()
    done = await second.standing(standing.execution_id, 10)
    assert (done.status, done.output) == ("succeeded", 300_000)


async def test_an_approval_is_decided_once(house: House) -> None:
    engine, other = await house.engine(), await house.engine("other")
    standing = await house.start(engine, ASK)
    assert (standing.status, standing.waiting_reason) == ("waiting", "approval")
    approval_id = await approval_of(house, standing.execution_id)
    tenant_id = house.tenant.tenant_id
    answers = await asyncio.gather(
        *((engine, other)[i % 2].decide(approval_id, tenant_id, (YES, NO)[i // 2 % 2], f"u{i}", "t") for i in range(8)),
        return_exceptions=True,
    )
    won = {answer.status for answer in answers if not isinstance(answer, BaseException)}
    assert len(won) == 1
    assert all(a.kind is ErrorKind.CONFLICT for a in answers if isinstance(a, InterlockError))
    done = await engine.standing(standing.execution_id, 10)
    assert done.status == "succeeded"
    types = [kind for _, kind in await house.log(standing.execution_id)]
    assert types.count("approval.decided") == 1


async def test_an_approval_that_nobody_answers_expires_by_its_row(house: House) -> None:
    engine = await house.engine()
    graph = GraphDefinition(
        nodes=(node("ask", "approval", title="?", timeout_seconds=1, on_timeout="continue"), node("late")),
        connections=(ConnectionDefinition(source="ask", target="late", port="timeout"),),
    )
    standing = await house.start(engine, graph, wait=0)
    done = await engine.standing(standing.execution_id, 0.2)
    assert done.status == "waiting"

    async def has_ended() -> bool:
        return (await engine.standing(standing.execution_id, 0)).status == "succeeded"

    await house.until(has_ended, "the approval expired")
    with pytest.raises(InterlockError) as late:
        await engine.decide(await approval_of(house, standing.execution_id), house.tenant.tenant_id, YES, "u", "t")
    assert late.value.kind is ErrorKind.GONE


async def test_an_approval_escalates_to_others_with_a_new_deadline(house: House) -> None:
    engine = await house.engine()
    ask = node("ask", "approval", title="?", timeout_seconds=1, on_timeout="escalate", escalate_to=["boss"])
    standing = await house.start(engine, chain(ask), wait=0)

    async def has_moved() -> bool:
        return "approval.escalated" in [kind for _, kind in await house.log(standing.execution_id)]

    await house.until(has_moved, "the approval escalated")
    rows = await house.rows("select assignees, status from interlock.approvals")
    assert (rows[0][0], rows[0][1]) == (["boss"], "pending")


async def test_what_is_to_escalate_never_expires_first(
    house: House,
) -> None:
    ledger = PostgresLedger(house.database.serve_url)
    engine = await house.engine(ledger=ledger)
    ask = node("ask", "approval", title="?", timeout_seconds=60, on_timeout="escalate", escalate_to=["boss"])
    standing = await house.start(engine, chain(ask), wait=0)
    await house.rows("update interlock.approvals set expires_at = now() - interval '1 second'")
    approval, tenant = await approval_of(house, standing.execution_id), house.tenant.tenant_id
    expired = (ApprovalStatus.EXPIRED, "", None, "nobody answered", None, "t", True)
    assert await ledger.decide_approval(approval, tenant, *expired) is None
    assert await ledger.escalate_approval(approval, tenant, "t") is not None
    await house.rows("update interlock.approvals set expires_at = now() - interval '1 second'")
    assert await ledger.decide_approval(approval, tenant, *expired) is not None


async def test_cancelling_a_tree_cancels_all_living_descendants(house: House) -> None:
    gate = Gate()
    engine = await house.engine(nodes=(gate,))
    await house.workflow(chain(node("g", "gate")), name="leaf")
    await house.workflow(chain(node("s", "subworkflow", workflow="leaf")), name="middle")
    standing = await house.start(engine, chain(node("s", "subworkflow", workflow="middle")), wait=0)
    await asyncio.wait_for(gate.entered.wait(), 10)
    assert await engine.cancel(standing.execution_id, house.tenant.tenant_id, "user-1", "enough", "t")
    rows = await house.rows("select status from interlock.executions")
    assert [row[0] for row in rows] == ["cancelled"] * 3
    await house.until(lambda: gate.cancelled == 1, "the running attempt was ended")


async def test_signals_to_what_has_ended_or_never_was_are_refused(house: House) -> None:
    engine = await house.engine()
    standing = await house.start(engine, chain(node("a")))
    with pytest.raises(InterlockError) as ended:
        await engine.signal(signal(house, standing.execution_id, "go"))
    assert ended.value.kind is ErrorKind.CONFLICT
    with pytest.raises(InterlockError) as unknown:
        await engine.signal(signal(house, house.ids.new(), "go"))
    assert unknown.value.kind is ErrorKind.NOT_FOUND


async def test_a_stopped_engine_hands_its_executions_over_at_once(house: House) -> None:
    gate, fresh = Gate(), Gate()
    leaving = await house.engine("leaving", nodes=(gate,))
    standing = await house.start(leaving, chain(node("g", "gate")), wait=0)
    await gate.entered.wait()
    staying = await house.engine("staying", nodes=(fresh,))
    await leaving.close(1.0)
    house.engines.remove(leaving)
    await asyncio.wait_for(fresh.entered.wait(), 5)
    fresh.opened.set()
    assert (await staying.standing(standing.execution_id, 10)).status == "succeeded"


async def test_an_engine_that_is_woken_while_it_stops_stops_all_the_same(house: House) -> None:
    engine = await house.engine()
    await house.start(engine, chain(node("a")))
    house.engines.remove(engine)
    house.buses[0].inbox_grew(house.ids.new(), None)
    async with asyncio.timeout(10):
        await engine.close(1.0)
    assert not engine.is_ready()["accepting"]


async def test_a_draining_engine_refuses_starts_and_says_when_to_come_back(house: House) -> None:
    engine = await house.engine()
    engine.drain()
    with pytest.raises(InterlockError) as refused:
        await house.start(engine, chain(node("a")))
    assert refused.value.kind is ErrorKind.UNAVAILABLE
    assert refused.value.retry_after is not None


async def test_a_timer_fires_after_the_process_that_set_it_is_gone(house: House) -> None:
    first = await house.engine("first")
    standing = await house.start(first, chain(node("w", "wait", seconds=1.5)), wait=0)
    await house.kill(first)
    second = await house.engine("second")
    done = await second.standing(standing.execution_id, 0)
    assert done.status == "waiting"

    async def has_ended() -> bool:
        return (await second.standing(standing.execution_id, 0)).status == "succeeded"

    await house.until(has_ended, "the timer fired")
