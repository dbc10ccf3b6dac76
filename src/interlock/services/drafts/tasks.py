"""The tasks of a draft: add, save, delete, list. A refused call changes nothing."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import msgspec

from interlock.core.code import Form
from interlock.core.draft import (
    MAX_EDGES,
    MAX_TASKS,
    Batching,
    Draft,
    EdgeKind,
    Retrying,
    SavedTask,
    TaskInput,
    TaskKind,
    TaskOutput,
    broken,
    circle,
    possible_references,
    resolve,
)
from interlock.core.principal import Principal, Scope
from interlock.core.resources import Resources
from interlock.kit.ids import Ids
from interlock.ports.store import Store, Transaction
from interlock.services.code.save import SaveCode
from interlock.services.drafts.find import (
    changing,
    reading,
    require_size,
    require_tasks,
    unknown_task,
)


class Given(msgspec.Struct, frozen=True):
    """One argument as it was told: ``value`` is a reference if ``is_reference``."""

    key: str
    value: Any
    is_reference: bool
    data_type: str = ""


class TaskWish(msgspec.Struct, frozen=True, kw_only=True):
    """What a task is to do; all of it replaces what was saved before. ``timeout`` is seconds for each attempt."""

    form: Form
    content: bytes
    inputs: tuple[Given, ...] = ()
    outputs: tuple[TaskOutput, ...] = ()
    name: str | None = None
    resources: Resources = Resources()
    batching: Batching | None = None
    timeout: float = 3600.0
    retry: Retrying = Retrying()


class AddTasks:
    """Add tasks: empty ones, or such as are called one by one and have their code from the beginning."""

    def __init__(self, store: Store, save_code: SaveCode, ids: Ids) -> None:
        self._store = store
        self._save_code = save_code
        self._ids = ids

    async def __call__(self, principal: Principal, draft_id: str, name: str | None) -> str:
        """The id of an empty task. Raises DENIED, NOT_FOUND, RULE beyond ``MAX_TASKS``."""
        principal.require(Scope.WORKFLOWS_WRITE)
        return await self._add(principal, draft_id, "code", name, None)

    async def callable(self, principal: Principal, draft_id: str, wish: TaskWish) -> str:
        """The id of a task that is called one by one. Raises the same, TOO_LARGE, UNAVAILABLE."""
        principal.require(Scope.WORKFLOWS_WRITE)
        self._save_code.permit(principal)
        require_size(wish.content)
        await _require_draft(self._store, principal, draft_id)
        code = await self._save_code(principal, wish.form, wish.content)
        return await self._add(principal, draft_id, "langgraph", wish.name, _saved(wish, code, ()))

    async def _add(
        self, principal: Principal, text: str, kind: TaskKind, name: str | None, saved: SavedTask | None
    ) -> str:
        task_id = str(self._ids.new())
        async with self._store.transaction(principal) as transaction:
            draft = await changing(transaction, text)
            if await transaction.count_draft_tasks(draft.draft_id) >= MAX_TASKS:
                raise broken(f"A workflow has at most {MAX_TASKS} tasks")
            await transaction.add_draft_task(draft.draft_id, task_id, kind, name, saved)
        return task_id


class SaveTasks:
    """Say what tasks do."""

    def __init__(self, store: Store, save_code: SaveCode) -> None:
        self._store = store
        self._save_code = save_code

    async def __call__(
        self, principal: Principal, draft_id: str, task_id: str, wish: TaskWish, *, with_edges: bool
    ) -> None:
        """Replace what a task does; with ``with_edges`` its references draw edges in place of those they drew before.

        Raises DENIED, NOT_FOUND, RULE for a bad reference or a circle, TOO_LARGE, UNAVAILABLE.
        """
        principal.require(Scope.WORKFLOWS_WRITE)
        self._save_code.permit(principal)
        require_size(wish.content)
        await _require_task(self._store, principal, draft_id, task_id)
        code = await self._save_code(principal, wish.form, wish.content)
        async with self._store.transaction(principal) as transaction:
            draft = await changing(transaction, draft_id)
            await require_tasks(transaction, draft, task_id)
            saved = _saved(wish, code, await _resolved(transaction, draft, wish.inputs))
            await transaction.save_draft_task(draft.draft_id, task_id, wish.name, saved)
            await _join(transaction, draft, task_id, saved, with_edges=with_edges)


class DeleteTasks:
    """Take tasks out of drafts."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def __call__(self, principal: Principal, draft_id: str, task_id: str) -> None:
        """Delete a task with its edges. Raises DENIED, NOT_FOUND."""
        principal.require(Scope.WORKFLOWS_WRITE)
        async with self._store.transaction(principal) as transaction:
            draft = await changing(transaction, draft_id)
            if not await transaction.delete_draft_task(draft.draft_id, task_id):
                raise unknown_task(task_id, draft.draft_id)


class ListTasks:
    """Say which tasks a draft has."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def __call__(self, principal: Principal, draft_id: str) -> list[tuple[str, str]]:
        """Ids and names in the order they were added; none of an unknown draft. Raises DENIED."""
        principal.require(Scope.EXECUTIONS_READ)
        try:
            found = UUID(draft_id)
        except ValueError:
            return []
        async with self._store.transaction(principal, read_only=True) as transaction:
            return await transaction.draft_task_names(found)


async def _require_draft(store: Store, principal: Principal, text: str) -> None:
    """Before code is kept for it: refusing costs little then, and keeps nothing."""
    async with store.transaction(principal) as transaction:
        await reading(transaction, text)


async def _require_task(store: Store, principal: Principal, text: str, task_id: str) -> None:
    async with store.transaction(principal) as transaction:
        await require_tasks(transaction, await reading(transaction, text), task_id)


async def _resolved(transaction: Transaction, draft: Draft, inputs: tuple[Given, ...]) -> tuple[TaskInput, ...]:
    told = [given for given in inputs if given.is_reference]
    named = {task_id for given in told for task_id, _ in possible_references(given.value)}
    named |= {given.value for given in told if isinstance(given.value, str) and "." not in given.value}  # no key
    known = await transaction.among_draft_tasks(draft.draft_id, sorted(named)) if named else set()
    return tuple(_input(given, known) for given in inputs)


def _input(given: Given, known: set[str]) -> TaskInput:
    if not given.is_reference:
        return TaskInput(key=given.key, data_type=given.data_type, value=given.value)
    source, source_key = resolve(given.key, given.value, known)
    return TaskInput(key=given.key, data_type=given.data_type, source=source, source_key=source_key)


async def _join(transaction: Transaction, draft: Draft, task_id: str, saved: SavedTask, *, with_edges: bool) -> None:
    """Put the task behind what it reads. Raises RULE for a circle, and beyond ``MAX_EDGES``."""
    kinds: tuple[EdgeKind, ...] = ("read", "implied") if with_edges else ("read",)
    await transaction.forget_edges_into(draft.draft_id, task_id, kinds)
    sources = saved.sources
    if not sources:
        return
    if task_id in sources:
        raise circle(task_id, task_id)
    behind = await transaction.first_behind(draft.draft_id, task_id, sources)
    if behind is not None:
        raise circle(behind, task_id)
    await transaction.draw_edges(draft.draft_id, sources, task_id, kinds)
    if await transaction.count_edges(draft.draft_id) > MAX_EDGES:
        raise broken(f"A workflow has at most {MAX_EDGES} edges")


def _saved(wish: TaskWish, code: str, inputs: tuple[TaskInput, ...]) -> SavedTask:
    return SavedTask(
        code=code,
        form=wish.form,
        inputs=inputs,
        outputs=wish.outputs,
        resources=wish.resources,
        batching=wish.batching,
        timeout=wish.timeout,
        retry=wish.retry,
    )
