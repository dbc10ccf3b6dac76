"""The store tells of workflows, executions and approvals what is in its tables."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import asyncpg
import msgspec
import pytest

from interlock.backends.store.postgres.counting import COUNTED
from interlock.core.approval import ApprovalStatus
from interlock.core.errors import ErrorKind, InterlockError
from interlock.core.events import Recorded
from interlock.core.ids import VersionId
from interlock.core.workflow import FlowDefinition, GraphDefinition, NodeDefinition, TransitionDefinition, Workflow
from interlock.kit.ids import RandomIds
from interlock.ports.store import ExecutionFilter

GRAPH = GraphDefinition(nodes=(NodeDefinition(id="a", type="echo", parameters={"text": "'quoted' \\ é"}),))
NOW = datetime(2026, 11, 21, 12, 30, 15, 250_000, UTC)
LATER = NOW + timedelta(hours=1)


def new_id() -> UUID:
    return RandomIds().new()


def succeeding(workflow: Workflow, *, name: str | None = None) -> Workflow:
    """The same workflow with a next version."""
    number = workflow.version.number + 1
    version = msgspec.structs.replace(
        workflow.version, version_id=VersionId(new_id()), number=number, digest=f"digest-{number}"
    )
    return msgspec.structs.replace(
        workflow, version=version, name=name or workflow.name, source={"as": ["sent", number]}, updated_at=LATER
    )


async def test_a_workflow_comes_back_as_it_was_added(store, tenant, added):
    flow = FlowDefinition(
        states=("draft", "done"),
        initial_state="draft",
        transitions=(TransitionDefinition(source=("draft",), event="OK", target=("done",), when="x > 1"),),
    )
    for definition in (GRAPH, flow):
        workflow = await added(tenant.principal, definition=definition, tags=("a", "b"), description="'; --")
        async with store.transaction(tenant.principal, read_only=True) as transaction:
            assert await transaction.workflow(workflow.workflow_id, None) == workflow
            assert await transaction.workflow(workflow.workflow_id, 1) == workflow
            assert await transaction.workflow(workflow.workflow_id, 2) is None
            assert await transaction.versions(workflow.workflow_id) == [workflow.version]
            head = await transaction.head(workflow.workflow_id)
        assert head is not None
        assert (head.version_id, head.number, head.visibility, head.name) == (
            workflow.version.version_id,
            1,
            "tenant",
            "Sums",
        )


async def test_a_changed_workflow_has_a_new_head_and_keeps_its_old_versions(store, tenant, added):
    first = await added(tenant.principal)
    second = succeeding(first, name="Better sums")
    async with store.transaction(tenant.principal) as transaction:
        assert await transaction.change_workflow(second, 1)
    async with store.transaction(tenant.principal) as transaction:
        assert await transaction.workflow(first.workflow_id, None) == second
        older = await transaction.workflow(first.workflow_id, 1)
        assert older is not None
        assert (older.version, older.source, older.name) == (first.version, first.source, "Better sums")
        assert await transaction.versions(first.workflow_id) == [second.version, first.version]


async def test_a_change_from_an_outdated_number_does_nothing(store, tenant, added, made):
    first = await added(tenant.principal)
    second = succeeding(first)
    async with store.transaction(tenant.principal) as transaction:
        assert await transaction.change_workflow(second, 1)
        assert not await transaction.change_workflow(succeeding(first), 1)
        assert not await transaction.change_workflow(made(tenant.principal), 1), "no such workflow"
    async with store.transaction(tenant.principal) as transaction:
        assert await transaction.workflow(first.workflow_id, None) == second
        assert len(await transaction.versions(first.workflow_id)) == 2


async def test_of_many_changes_at_once_exactly_one_wins(store, tenant, added):
    first = await added(tenant.principal)

    async def change(index: int) -> bool:
        async with store.transaction(tenant.principal) as transaction:
            return await transaction.change_workflow(succeeding(first, name=f"Try {index}"), 1)

    assert sorted(await asyncio.gather(*(change(index) for index in range(12)))) == [False] * 11 + [True]
    async with store.transaction(tenant.principal) as transaction:
        assert [version.number for version in await transaction.versions(first.workflow_id)] == [2, 1]


async def test_a_change_that_keeps_the_version_only_renames(store, tenant, added):
    first = await added(tenant.principal)
    renamed = msgspec.structs.replace(first, name="Renamed", visibility="private", tags=("x",), updated_at=LATER)
    async with store.transaction(tenant.principal) as transaction:
        assert await transaction.change_workflow(renamed, 1)
        assert await transaction.workflow(first.workflow_id, None) == renamed
        assert await transaction.versions(first.workflow_id) == [first.version]


async def test_adding_the_same_id_twice_is_a_conflict(store, tenant, added):
    workflow = await added(tenant.principal)
    with pytest.raises(InterlockError) as refused:
        async with store.transaction(tenant.principal) as transaction:
            await transaction.add_workflow(workflow)
    assert refused.value.kind is ErrorKind.CONFLICT


async def test_a_deleted_workflow_is_not_found_but_its_versions_serve_what_runs(store, tenant, added):
    workflow = await added(tenant.principal)
    key = workflow.workflow_id
    async with store.transaction(tenant.principal) as transaction:
        assert await transaction.delete_workflow(key)
        assert not await transaction.delete_workflow(key)
    async with store.transaction(tenant.principal) as transaction:
        assert await transaction.workflow(key, None) is None
        assert await transaction.workflow(key, 1) is None
        assert await transaction.head(key) is None
        assert await transaction.find_workflow("Sums") is None
        assert await transaction.versions(key) == []
        assert not await transaction.change_workflow(succeeding(workflow), 1)
        assert (await transaction.list_workflows(search=None, tags=[], limit=9, offset=0)).total == 0
    assert await store.head(tenant.principal, key) is None
    assert await store.version(tenant.principal, workflow.version.version_id) == workflow.version


async def test_a_workflow_is_found_by_id_and_by_name(store, tenant, added):
    older = await added(tenant.principal, name="Twin")
    newer = await added(tenant.principal, name="Twin", updated_at=LATER)
    async with store.transaction(tenant.principal) as transaction:
        assert await transaction.find_workflow(str(older.workflow_id)) == older.workflow_id
        assert await transaction.find_workflow("Twin") == newer.workflow_id
        assert await transaction.find_workflow("twin") is None
        assert await transaction.find_workflow(str(new_id())) is None
    named = await added(tenant.principal, name=str(older.workflow_id), updated_at=LATER)
    async with store.transaction(tenant.principal) as transaction:
        assert await transaction.find_workflow(named.name) == older.workflow_id, "an id goes before a name"


async def test_lists_search_literally_and_want_all_tags(store, tenant, added):
    wanted = await added(tenant.principal, name="50% off_er", tags=("a", "b"), updated_at=LATER)
    other = await added(tenant.principal, name="50 offers", tags=("a",), description="SUM of 100%")

    async def found(search: str | None, *tags: str) -> list[UUID]:
        async with store.transaction(tenant.principal, read_only=True) as transaction:
            page = await transaction.list_workflows(search=search, tags=tags, limit=10, offset=0)
        assert page.total == len(page.items)
        return [item.workflow_id for item in page.items]

    both = [wanted.workflow_id, other.workflow_id]
    assert await found(None) == both
    assert await found("") == both
    assert await found("%") == both
    assert await found("OFF_") == [wanted.workflow_id]
    assert await found("sum of") == [other.workflow_id]
    assert await found("\\") == []
    assert await found(None, "a") == both
    assert await found(None, "b", "a") == [wanted.workflow_id]
    assert await found("50", "c") == []


async def test_pages_cover_a_list_without_gaps_and_tell_the_total(store, tenant, added):
    for index in range(7):
        await added(tenant.principal, name=f"W{index}", updated_at=NOW + timedelta(seconds=index))
    names: list[str] = []
    async with store.transaction(tenant.principal, read_only=True) as transaction:
        for offset in range(0, 9, 3):
            page = await transaction.list_workflows(search=None, tags=[], limit=3, offset=offset)
            assert page.total == 7
            names += [item.name for item in page.items]
        beyond = await transaction.list_workflows(search=None, tags=[], limit=3, offset=50)
    assert names == [f"W{index}" for index in reversed(range(7))]
    assert (list(beyond.items), beyond.total) == ([], 7)


async def test_totals_stop_counting_at_their_bound(store, database, tenant, planted):
    seed = await planted(tenant)
    connection = await asyncpg.connect(database.superuser_url)
    await connection.execute(
        """insert into interlock.executions (execution_id, tenant_id, user_id, visibility, version_id, workflow_number,
          kind, status, mode, started_by, root_id, trace_id, created_at, updated_at)
        select gen_random_uuid(), tenant_id, user_id, visibility, version_id, 1, kind, 'failed', mode, started_by,
          root_id, trace_id, created_at, updated_at
        from interlock.executions, generate_series(1, $2) where execution_id = $1""",
        seed.execution_id,
        COUNTED + 5,
    )
    await connection.close()
    async with store.transaction(tenant.principal, read_only=True) as transaction:
        assert (await transaction.list_executions(ExecutionFilter(limit=2))).total == COUNTED
        assert (await transaction.list_executions(ExecutionFilter(statuses=("running",)))).total == 1


async def test_an_execution_tells_its_newest_event_and_whether_somebody_has_it(store, tenant, planted):
    owned = await planted(tenant, owner=77, events=4)
    resting = await planted(tenant, wake_at=LATER)
    ended = await planted(tenant, status="succeeded")
    async with store.transaction(tenant.principal, read_only=True) as transaction:
        row = await transaction.execution(owned.execution_id)
        assert row is not None
        assert (row.last_seq, row.is_unowned, row.wake_at) == (4, False, None)
        assert (row.input, row.metadata, row.output, row.status) == ({"a": [1, "x"]}, {"m": None}, None, "running")
        assert row.created_at.tzinfo is UTC
        row = await transaction.execution(resting.execution_id)
        assert row is not None
        assert (row.is_unowned, row.wake_at) == (True, LATER)
        row = await transaction.execution(ended.execution_id)
        assert row is not None
        assert (row.is_unowned, row.wake_at, row.last_seq) == (False, None, 3)
        assert await transaction.execution(new_id()) is None


async def test_executions_are_listed_newest_first_and_filtered(store, tenant, planted):
    workflow_id = new_id()
    first = await planted(tenant, workflow_id=workflow_id, kind="flow")
    second = await planted(tenant, workflow_id=workflow_id, status="failed")
    third = await planted(tenant, status="waiting", owner=3, events=2)

    async def found(**wishes: Any) -> tuple[list[UUID], int]:
        async with store.transaction(tenant.principal, read_only=True) as transaction:
            page = await transaction.list_executions(ExecutionFilter(**wishes))
        return [row.execution_id for row in page.items], page.total

    one, two, three = first.execution_id, second.execution_id, third.execution_id
    assert await found() == ([three, two, one], 3)
    assert await found(workflow_id=workflow_id) == ([two, one], 2)
    assert await found(statuses=("failed", "waiting")) == ([three, two], 2)
    assert await found(kind="flow") == ([one], 1)
    assert await found(before=three, limit=1) == ([two], 3)
    assert await found(before=one) == ([], 3)
    assert await found(limit=1, offset=1) == ([two], 3)
    assert await found(limit=2, offset=4) == ([], 3)
    assert await found(workflow_id=new_id()) == ([], 0)
    async with store.transaction(tenant.principal, read_only=True) as transaction:
        page = await transaction.list_executions(ExecutionFilter(statuses=("waiting",)))
        assert page.items == [await transaction.execution(three)], "a list tells the same of each as asking for it"


async def test_the_latest_execution_of_each_workflow(store, tenant, planted):
    busy, idle = new_id(), new_id()
    await planted(tenant, workflow_id=busy)
    latest = await planted(tenant, workflow_id=busy)
    async with store.transaction(tenant.principal, read_only=True) as transaction:
        found = await transaction.latest_executions([busy, idle, busy])
        assert found == {busy: await transaction.execution(latest.execution_id)}


async def test_the_log_is_read_in_order_from_anywhere(store, tenant, planted):
    execution = await planted(tenant, events=6)
    async with store.transaction(tenant.principal, read_only=True) as transaction:
        texts = await transaction.events(execution.execution_id, 0, 100)
        assert [event.seq for event in texts] == [1, 2, 3, 4, 5, 6]
        assert (await transaction.events(execution.execution_id, 2, 2)) == texts[2:4]
        assert await transaction.events(execution.execution_id, 6, 5) == []
        recorded = await transaction.recorded(execution.execution_id)
        assert [entry.event for entry in recorded] == execution.log()
        assert recorded[0] == Recorded(1, texts[0].at, "trace-1", execution.log()[0])
        assert [msgspec.json.decode(event.data) for event in texts] == [
            msgspec.to_builtins(event) for event in execution.log()
        ]


async def test_events_are_found_by_a_word_in_them(store, tenant, planted):
    execution = await planted(tenant, events=4)

    async def naming(word: str, limit: int = 9) -> list[int]:
        async with store.transaction(tenant.principal, read_only=True) as transaction:
            return [event.seq for event in await transaction.events_naming(execution.execution_id, word, limit)]

    assert await naming("workflow_id") == [1]
    assert await naming("2 'é") == [3]
    assert await naming("message") == [2, 3, 4]
    assert await naming("message", limit=2) == [2, 3]
    assert await naming("%") == []


async def test_a_long_log_comes_back_whole(store, tenant, planted):
    execution = await planted(tenant, events=10_001)
    async with store.transaction(tenant.principal, read_only=True) as transaction:
        recorded = await transaction.recorded(execution.execution_id)
    assert [entry.seq for entry in recorded] == list(range(1, 10_002))


async def test_artifacts_of_an_execution(store, tenant, planted):
    execution = await planted(tenant)
    async with store.transaction(tenant.principal, read_only=True) as transaction:
        (artifact,) = await transaction.artifacts(execution.execution_id)
    assert (artifact.name, artifact.size, artifact.content_type) == ("report.md", 1234567890123, "text/markdown")


async def test_approvals_are_found_and_listed(store, tenant, planted):
    pending = await planted(tenant)
    decided = await planted(tenant, approval_status="approved")

    async def found(**wishes: Any) -> tuple[list[UUID], int]:
        conditions = {"status": None, "execution_ids": None, "limit": 10, "offset": 0, **wishes}
        async with store.transaction(tenant.principal, read_only=True) as transaction:
            page = await transaction.list_approvals(**conditions)
        return [approval.approval_id for approval in page.items], page.total

    both = sorted([pending.approval_id, decided.approval_id], reverse=True)
    assert await found() == (both, 2)
    assert await found(status="pending") == ([pending.approval_id], 1)
    assert await found(execution_ids=[decided.execution_id]) == ([decided.approval_id], 1)
    assert await found(execution_ids=[decided.execution_id, pending.execution_id]) == (both, 2)
    assert await found(execution_ids=[]) == ([], 0)
    assert await found(limit=1, offset=1) == (both[1:], 2)
    async with store.transaction(tenant.principal, read_only=True) as transaction:
        approval = await transaction.approval(decided.approval_id)
        assert approval is not None
        assert (approval.status, approval.request, approval.fields, approval.options) == (
            ApprovalStatus.APPROVED,
            {"q": 1},
            [],
            ["later"],
        )
        assert await transaction.approval(new_id()) is None
