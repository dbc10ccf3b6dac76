"""A start goes by the head it remembers; the commit itself decides whether that is still true."""

from __future__ import annotations

import asyncio

import msgspec
import pytest

from engine_house import House, chain, node
from interlock.core.errors import ErrorKind, InterlockError
from interlock.core.workflow import Workflow
from interlock.ports.engine import Key, WorkflowChanged
from interlock.services.executions.start import StartExecutions, StartRequest

CHANGES = {
    "deleted": "deleted_at = now()",
    "changed": "version_id = gen_random_uuid()",
    "hidden": "visibility = 'private'",
    "hidden_and_given_away": "visibility = 'private', user_id = 'somebody else'",
    "of_another_tenant": "tenant_id = 'another'",
}


async def another_version(house: House, workflow: Workflow) -> Workflow:
    """The workflow with a second version, written by somebody this process knows nothing of."""
    version = msgspec.structs.replace(
        workflow.version,
        version_id=house.ids.new(),
        number=2,
        definition=chain(node("b", mapping={"from": "second"})),
    )
    changed = msgspec.structs.replace(workflow, version=version)
    async with house.store.transaction(house.tenant.principal) as transaction:
        assert await transaction.change_workflow(changed, 1)
    return changed


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
@pytest.mark.parametrize("key", [None, "k"])
async def test_a_start_whose_workflow_changed_leaves_nothing_behind(house: House, change: str, key: str | None) -> None:
    engine = await house.engine()
    workflow = await house.workflow(chain(node("a")))
    request = house.request(workflow, key=key, needs_head=True)
    await house.rows(f"update interlock.workflows set {change} where workflow_id = $1", workflow.workflow_id)
    with pytest.raises(WorkflowChanged):
        await engine.start(request)
    for table in ("executions", "events", "live", "keys"):
        assert await house.rows(f"select 1 from interlock.{table}") == []


async def test_a_key_that_won_is_answered_even_when_the_workflow_has_changed_since(house: House) -> None:
    engine = await house.engine()
    workflow = await house.workflow(chain(node("a")))
    first = await engine.start(house.request(workflow, key="k", needs_head=True))
    await another_version(house, workflow)
    again = await engine.start(house.request(workflow, key="k", needs_head=True))
    assert (again.execution_id, again.is_replay) == (first.execution_id, True)


async def test_one_stale_start_disturbs_no_other_of_its_flush(house: House) -> None:
    engine = await house.engine()
    stale, current = await house.workflow(chain(node("a"))), await house.workflow(chain(node("a")))
    await another_version(house, stale)
    starts = [engine.start(house.request((stale, current)[index % 2], needs_head=True)) for index in range(20)]
    answers = await asyncio.gather(*starts, return_exceptions=True)
    assert [type(answer) for answer in answers[::2]] == [WorkflowChanged] * 10
    assert {getattr(answer, "status", answer) for answer in answers[1::2]} == {"succeeded"}
    assert len(await house.rows("select 1 from interlock.executions")) == 10


async def test_a_version_of_another_process_is_what_the_next_start_runs(house: House) -> None:
    start = StartExecutions(house.store, await house.engine())
    workflow = await house.workflow(chain(node("a")))
    request = StartRequest(workflow_id=workflow.workflow_id, trace_id="0" * 32, input={}, wait=10.0)
    before = await start(house.tenant.principal, request)
    await another_version(house, workflow)
    keyed = msgspec.structs.replace(request, key=Key("test", "k", "digest"))
    after = await start(house.tenant.principal, keyed)
    assert (before.output, after.output) == ({}, {"from": "second"})
    assert (await start(house.tenant.principal, keyed)).execution_id == after.execution_id


async def test_a_node_that_is_new_can_be_started_from_at_once(house: House) -> None:
    start = StartExecutions(house.store, await house.engine())
    workflow = await house.workflow(chain(node("a")))
    request = StartRequest(workflow_id=workflow.workflow_id, trace_id="0" * 32, input={}, wait=10.0)
    await start(house.tenant.principal, request)
    await another_version(house, workflow)
    at_b = msgspec.structs.replace(request, start_at="b")
    assert (await start(house.tenant.principal, at_b)).output == {"from": "second"}
    with pytest.raises(InterlockError) as refused:
        await start(house.tenant.principal, msgspec.structs.replace(request, start_at="nowhere"))
    assert refused.value.kind is ErrorKind.RULE


async def test_a_workflow_deleted_by_another_process_cannot_be_started(house: House) -> None:
    start = StartExecutions(house.store, await house.engine())
    workflow = await house.workflow(chain(node("a")))
    request = StartRequest(workflow_id=workflow.workflow_id, trace_id="0" * 32, input={}, wait=10.0)
    assert (await start(house.tenant.principal, request)).status == "succeeded"
    async with house.store.transaction(house.tenant.principal) as transaction:
        assert await transaction.delete_workflow(workflow.workflow_id)
    with pytest.raises(InterlockError) as refused:
        await start(house.tenant.principal, request)
    assert refused.value.kind is ErrorKind.NOT_FOUND
