"""A caller of the store sees what its claims show, by whichever question."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import asyncpg
import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from interlock.backends.store.postgres.store import PostgresStore
from interlock.core.errors import ErrorKind, InterlockError
from interlock.core.principal import Principal
from interlock.core.workflow import Workflow
from interlock.kit.ids import RandomIds
from interlock.ports.store import ExecutionFilter


def new_id() -> UUID:
    return RandomIds().new()


async def seen(store: PostgresStore, who: Principal, workflow: Workflow, execution: Any) -> dict[str, Any]:
    """Everything that a principal can learn of a workflow and an execution, by every query there is."""
    async with store.transaction(who, read_only=True) as transaction:
        lists = [
            (await transaction.list_workflows(search=None, tags=[], limit=9, offset=0)),
            (await transaction.list_executions(ExecutionFilter())),
            (await transaction.list_executions(ExecutionFilter(workflow_id=execution.workflow_id))),
            (await transaction.list_approvals(status=None, execution_ids=None, limit=9, offset=0)),
        ]
        answers = {
            "head": await transaction.head(workflow.workflow_id),
            "workflow": await transaction.workflow(workflow.workflow_id, None),
            "find by id": await transaction.find_workflow(str(workflow.workflow_id)),
            "find by name": await transaction.find_workflow(workflow.name),
            "versions": await transaction.versions(workflow.workflow_id),
            "latest": await transaction.latest_executions([execution.workflow_id]),
            "execution": await transaction.execution(execution.execution_id),
            "events": await transaction.events(execution.execution_id, 0, 9),
            "recorded": await transaction.recorded(execution.execution_id),
            "events naming": await transaction.events_naming(execution.execution_id, str(execution.workflow_id), 9),
            "artifacts": await transaction.artifacts(execution.execution_id),
            "approval": await transaction.approval(execution.approval_id),
        }
    answers["batched head"] = await store.head(who, workflow.workflow_id)
    answers["batched version"] = await store.version(who, workflow.version.version_id)
    for index, page in enumerate(lists):
        answers[f"list {index}"] = page.items
        assert page.total == len(page.items)
    return {name: answer for name, answer in answers.items() if answer}


@pytest.mark.parametrize("visibility", ["private", "tenant"])
async def test_another_tenant_learns_nothing_even_with_the_same_subject(
    store, tenant, new_tenant, planted, visibility, added
):
    workflow = await added(tenant.principal, visibility=visibility)
    execution = await planted(tenant, workflow_id=workflow.workflow_id, is_private=visibility == "private")
    stranger = new_tenant()
    assert stranger.principal.subject == tenant.principal.subject, "only the tenant tells them apart"
    assert len(await seen(store, tenant.principal, workflow, execution)) == 18
    assert await seen(store, stranger.principal, workflow, execution) == {}


async def test_columns_that_a_newer_release_adds_disturb_nobody(own_database, plant_in, made, tenant):
    store = PostgresStore(own_database.serve_url, connections=1)
    await store.open()
    workflow = made(tenant.principal)
    async with store.transaction(tenant.principal) as transaction:
        await transaction.add_workflow(workflow)
    execution = await plant_in(own_database, tenant_id=tenant.tenant_id, workflow_id=workflow.workflow_id)
    before = await seen(store, tenant.principal, workflow, execution)
    owner = await asyncpg.connect(own_database.migrate_url)
    for table in ("workflows", "versions", "executions", "events", "artifacts", "approvals", "inbox", "live"):
        await owner.execute(f"alter table interlock.{table} add column newer int")
    await owner.close()
    assert await seen(store, tenant.principal, workflow, execution) == before
    await store.close()


async def test_a_private_execution_and_workflow_are_their_owners_alone(store, tenant, planted, added):
    workflow = await added(tenant.principal, visibility="private")
    execution = await planted(tenant, workflow_id=workflow.workflow_id, is_private=True)
    assert await seen(store, tenant.member("user-2"), workflow, execution) == {}


@pytest.mark.parametrize("assignee", ["user-2", "two@example.org", "role:reviewer"])
async def test_who_is_asked_sees_the_question_of_a_private_execution(store, tenant, planted, assignee):
    execution = await planted(tenant, is_private=True, assignees=(assignee,))
    asked = tenant.member("user-2", email="two@example.org", role="reviewer")
    other = tenant.member("user-3", email="three@example.org")
    async with store.transaction(asked, read_only=True) as transaction:
        assert await transaction.approval(execution.approval_id) is not None
        assert await transaction.execution(execution.execution_id) is None
    async with store.transaction(other, read_only=True) as transaction:
        assert await transaction.approval(execution.approval_id) is None


async def test_nobody_adds_a_workflow_in_the_name_of_another(store, tenant, new_tenant, made):
    for victim in (new_tenant().principal, tenant.member("user-2")):
        with pytest.raises(InterlockError) as refused:
            async with store.transaction(tenant.principal) as transaction:
                await transaction.add_workflow(made(victim))
        assert refused.value.kind is ErrorKind.DENIED


async def test_nobody_changes_or_deletes_what_is_not_visible(store, tenant, new_tenant, added):
    workflow = await added(tenant.principal, visibility="private")
    for stranger in (new_tenant().principal, tenant.member("user-2")):
        async with store.transaction(stranger) as transaction:
            assert not await transaction.change_workflow(workflow, 1)
            assert not await transaction.delete_workflow(workflow.workflow_id)
    async with store.transaction(tenant.principal) as transaction:
        assert await transaction.workflow(workflow.workflow_id, None) == workflow


TOLD = """select current_setting('request.jwt.claims') as claims, current_user::text as role,
  current_setting('statement_timeout') as timeout, current_setting('transaction_read_only') as read_only"""
AWKWARD = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=40)
ATTACKS = ["'", "''", "\\'", "$1", "$$", "'; reset role; --", "x', true); select '", "\\u0027", '"}', "é\u2028🙂"]


@settings(max_examples=150, deadline=None)
@given(subject=AWKWARD | st.sampled_from(ATTACKS), tenant_id=AWKWARD, email=st.none() | AWKWARD, role=AWKWARD)
async def test_the_database_is_told_exactly_who_calls(store, subject, tenant_id, email, role):
    who = Principal(subject, tenant_id, frozenset(), email, role)
    async with store.transaction(who, read_only=True) as transaction:
        row = await transaction._session.row(TOLD)
    assert msgspec.json.decode(row["claims"]) == {
        "sub": subject,
        "role": "authenticated",
        "tenant_id": tenant_id,
        "email": email,
        "interlock_role": role,
    }
    assert (row["role"], row["timeout"], row["read_only"]) == ("authenticated", "8s", "on")


@pytest.mark.parametrize(
    "who",
    [
        Principal("a\0b", "t", frozenset()),
        Principal("a", "t\0", frozenset()),
        Principal("a", "t", frozenset(), "\0"),
        Principal("a", "t", frozenset(), None, "\0"),
        Principal("a\ud800", "t", frozenset()),
        Principal("", "t", frozenset()),
        Principal("a", "", frozenset()),
    ],
)
async def test_a_principal_that_cannot_be_said_is_refused(store, who):
    with pytest.raises(InterlockError) as refused:
        async with store.transaction(who):
            pass
    assert refused.value.kind is ErrorKind.UNAUTHENTICATED
    with pytest.raises(InterlockError):
        await store.head(who, new_id())
