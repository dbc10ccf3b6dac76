"""All use cases of one server, as the doors get them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from uuid import UUID

from interlock.core.definition import CheckParameters
from interlock.core.principal import Principal
from interlock.kit.clock import Clock
from interlock.kit.ids import Ids
from interlock.ports.blobs import BlobStore
from interlock.ports.bus import Bus
from interlock.ports.engine import Engine
from interlock.ports.executor import ExecutorState, Ready
from interlock.ports.identity import Identity
from interlock.ports.ledger import NodeTotal
from interlock.ports.node import Registry
from interlock.ports.store import Store
from interlock.ports.workers import Places
from interlock.services.access.bundle import Access
from interlock.services.approvals.decide import DecideApprovals
from interlock.services.approvals.fields import CheckValue
from interlock.services.approvals.list import ListApprovals
from interlock.services.catalogue import ListNodeTypes
from interlock.services.code.save import SaveCode
from interlock.services.drafts.bundle import Drafts, build_drafts
from interlock.services.executions.cancel import CancelExecutions
from interlock.services.executions.pause import PauseExecutions
from interlock.services.executions.read import ReadExecutions
from interlock.services.executions.retry import RetryExecutions
from interlock.services.executions.signal import SignalExecutions
from interlock.services.executions.start import StartExecutions
from interlock.services.executions.task_log import ReadTaskLogs
from interlock.services.executions.tasks import ListTasks
from interlock.services.executions.values import ReadValues
from interlock.services.executions.watch import WatchExecutions
from interlock.services.executions.watch_workflow import WatchWorkflows
from interlock.services.health import CheckHealth
from interlock.services.identity.bundle import DirectoryServices
from interlock.services.models.budgets import SetBudgets
from interlock.services.models.bundle import Models, without_providers
from interlock.services.models.holders import FindHolders, FindPerson
from interlock.services.registry.flows import RegisterFlows
from interlock.services.registry.nodes import RegisterNodes
from interlock.services.sessions.blackboard import Blackboards
from interlock.services.sessions.log import ReadLogs
from interlock.services.sessions.picture import PictureSessions
from interlock.services.sessions.program import FindPrograms
from interlock.services.sessions.push import PushEvents
from interlock.services.sessions.session import FindSessions
from interlock.services.sessions.start import StartSessions
from interlock.services.sessions.stop import StopSessions
from interlock.services.webhooks.addresses import with_addresses
from interlock.services.webhooks.bundle import WebhookPorts, Webhooks, build_webhooks
from interlock.services.workers.bundle import Workers
from interlock.services.workflows.create import CreateWorkflows
from interlock.services.workflows.delete import DeleteWorkflows
from interlock.services.workflows.read import ReadWorkflows
from interlock.services.workflows.update import UpdateWorkflows
from interlock.services.workflows.validate import ValidateDefinitions


@dataclass(frozen=True, slots=True, kw_only=True)
class Services:
    """What can be asked. Each use case takes the principal first; ``identity`` says who that is."""

    identity: Identity
    access: Access
    health: CheckHealth
    node_types: ListNodeTypes
    validate_definition: ValidateDefinitions
    create_workflow: CreateWorkflows
    read_workflows: ReadWorkflows
    update_workflow: UpdateWorkflows
    delete_workflow: DeleteWorkflows
    start_execution: StartExecutions
    read_executions: ReadExecutions
    watch_execution: WatchExecutions
    watch_workflow: WatchWorkflows
    signal_execution: SignalExecutions
    cancel_execution: CancelExecutions
    retry_execution: RetryExecutions
    read_value: ReadValues
    list_tasks: ListTasks
    read_task_log: ReadTaskLogs
    pause_execution: PauseExecutions
    list_approvals: ListApprovals
    decide_approval: DecideApprovals
    directory: DirectoryServices | None
    models: Models
    budgets: SetBudgets
    start_session: StartSessions
    push_event: PushEvents
    find_session: FindSessions
    picture_session: PictureSessions
    stop_session: StopSessions
    read_session_log: ReadLogs
    blackboards: Blackboards
    registered_nodes: RegisterNodes
    registered_flows: RegisterFlows
    totals: Callable[[], Awaitable[Mapping[str, int]]]
    node_totals: Callable[[str | None], Awaitable[Sequence[NodeTotal]]]
    webhooks: Webhooks
    drafts: Drafts
    workers: Workers
    save_code: SaveCode


def build_services(
    *,
    store: Store,
    engine: Engine,
    bus: Bus,
    blobs: BlobStore,
    access: Access,
    registry: Registry,
    clock: Clock,
    ids: Ids,
    check_parameters: CheckParameters,
    check_value: CheckValue,
    webhooks: WebhookPorts,
    save_code: SaveCode,
    workers: Workers,
    places: Places,
    directory: DirectoryServices | None = None,
    models: Models | None = None,
    session_idle_seconds: float = 1800.0,
    is_ready: Ready = lambda: True,
    executor_state: ExecutorState = lambda: "ready",
) -> Services:
    """The use cases over these parts. ``is_ready`` says whether tasks of the lattice door can be run now."""
    models = models or without_providers(clock, ids)
    check_parameters = with_addresses(check_parameters, webhooks.check_url)
    validate = ValidateDefinitions(registry, check_parameters)
    watch = WatchExecutions(store, bus)
    cancel = CancelExecutions(store, engine)
    reads = ReadExecutions(store, engine, blobs)
    flows = RegisterFlows(store, registry, check_parameters, webhooks.check_url, clock, ids)
    find = FindSessions(store)
    picture = PictureSessions(store, blobs, registry, find)
    programs = FindPrograms(store, registry, flows, clock)
    return Services(
        identity=access.identity,
        access=access,
        health=CheckHealth(store, engine, blobs, clock, executor_state),
        node_types=ListNodeTypes(registry),
        validate_definition=validate,
        create_workflow=CreateWorkflows(store, validate, clock, ids),
        read_workflows=ReadWorkflows(store),
        update_workflow=UpdateWorkflows(store, validate, clock, ids),
        delete_workflow=DeleteWorkflows(store),
        start_execution=StartExecutions(store, engine),
        read_executions=reads,
        watch_execution=watch,
        watch_workflow=WatchWorkflows(store, watch, bus, clock),
        signal_execution=SignalExecutions(store, engine),
        cancel_execution=cancel,
        retry_execution=RetryExecutions(store, engine, blobs),
        read_value=ReadValues(store, blobs),
        list_tasks=ListTasks(reads, places),
        read_task_log=ReadTaskLogs(store),
        pause_execution=PauseExecutions(store, engine),
        list_approvals=ListApprovals(store),
        decide_approval=DecideApprovals(store, engine, check_value),
        directory=directory,
        models=models,
        budgets=SetBudgets(models.books, models.holds, ids, _holders(access, directory)),
        start_session=StartSessions(engine, programs, find, picture, session_idle_seconds),
        push_event=PushEvents(engine, find, picture),
        find_session=find,
        picture_session=picture,
        stop_session=StopSessions(find, cancel),
        read_session_log=ReadLogs(store, find),
        blackboards=Blackboards(store, engine, picture),
        registered_nodes=RegisterNodes(
            store, registry, webhooks.secrets, webhooks.check_url, ids, has_models=models.relay.is_configured
        ),
        registered_flows=flows,
        totals=engine.totals,
        node_totals=engine.node_totals,
        webhooks=build_webhooks(webhooks, store, engine, clock, ids),
        drafts=build_drafts(
            store=store,
            blobs=blobs,
            engine=engine,
            watch=watch,
            cancel=cancel,
            save_code=save_code,
            clock=clock,
            ids=ids,
            is_ready=is_ready,
        ),
        workers=workers,
        save_code=save_code,
    )


def _holders(access: Access, directory: DirectoryServices | None) -> FindHolders:
    """Those who may have a budget: keys, and the people that are known here."""
    return FindHolders(access.keys.find, access.keys.public_ids, _finder_of(directory) if directory else None)


def _finder_of(directory: DirectoryServices) -> FindPerson:
    async def find(principal: Principal, reference: str) -> UUID:
        return (await directory.administer.get(principal, reference)).user_id

    return find
