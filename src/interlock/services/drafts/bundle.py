"""The use cases of drafts."""

from __future__ import annotations

from dataclasses import dataclass

from interlock.kit.clock import Clock
from interlock.kit.ids import Ids
from interlock.ports.blobs import Blobs
from interlock.ports.engine import Engine
from interlock.ports.executor import Ready
from interlock.ports.store import Store
from interlock.services.code.save import SaveCode
from interlock.services.drafts.call import CallTasks
from interlock.services.drafts.create import CreateDrafts
from interlock.services.drafts.edges import DeleteEdges, DrawEdges
from interlock.services.drafts.find_run import CancelRuns, FindRuns
from interlock.services.drafts.results import ReadResults
from interlock.services.drafts.run import RunDrafts
from interlock.services.drafts.tasks import AddTasks, DeleteTasks, ListTasks, SaveTasks
from interlock.services.executions.cancel import CancelExecutions
from interlock.services.executions.watch import WatchExecutions


@dataclass(frozen=True, slots=True, kw_only=True)
class Drafts:
    """What can be asked of drafts and of their runs."""

    create: CreateDrafts
    add_task: AddTasks
    save_task: SaveTasks
    delete_task: DeleteTasks
    list_tasks: ListTasks
    draw_edge: DrawEdges
    delete_edge: DeleteEdges
    run: RunDrafts
    call: CallTasks
    find_run: FindRuns
    read_result: ReadResults
    cancel_run: CancelRuns


def build_drafts(
    *,
    store: Store,
    blobs: Blobs,
    engine: Engine,
    watch: WatchExecutions,
    cancel: CancelExecutions,
    save_code: SaveCode,
    clock: Clock,
    ids: Ids,
    is_ready: Ready,
) -> Drafts:
    """The use cases over these parts."""
    find = FindRuns(store)
    return Drafts(
        create=CreateDrafts(store, ids),
        add_task=AddTasks(store, save_code, ids),
        save_task=SaveTasks(store, save_code),
        delete_task=DeleteTasks(store),
        list_tasks=ListTasks(store),
        draw_edge=DrawEdges(store),
        delete_edge=DeleteEdges(store),
        run=RunDrafts(store, engine, clock, is_ready),
        call=CallTasks(store, blobs, engine, watch, save_code, clock, is_ready),
        find_run=find,
        read_result=ReadResults(blobs),
        cancel_run=CancelRuns(find, cancel),
    )
