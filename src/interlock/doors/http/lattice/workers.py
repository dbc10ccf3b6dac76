"""The machines that tasks run on."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from msgspec import Meta

from interlock.core.draft import RESOURCE_WORDS
from interlock.core.resources import Resources
from interlock.core.worker import Capacity, Gpu, Worker
from interlock.doors.http.plumbing.operation import Call, Reply
from interlock.doors.http.plumbing.replies import JsonReply
from interlock.kit.instants import rfc3339
from interlock.services.workers.connect import WorkerAnnounced

Amount = Annotated[float, Meta(ge=0, le=1e12)]


class GpuBody(msgspec.Struct, kw_only=True):
    """A device, or ``gpu_num`` of them that are alike; ``gpu_mem`` is MiB of each."""

    gpu_id: Annotated[int, Meta(ge=0, le=65_535)] | None = None
    gpu_mem: Amount = 0.0
    gpu_num: Annotated[int, Meta(ge=0, le=64)] = 1


class ResourcesBody(msgspec.Struct, kw_only=True):
    """``cpu`` is cores, ``cpu_mem`` MiB."""

    cpu: Amount
    cpu_mem: Amount
    gpu_resource: dict[str, GpuBody] | None = None


class ConnectBody(msgspec.Struct, kw_only=True):
    """``refresh`` only says that it still lives: a worker that somebody empties stays so."""

    node_ip: Annotated[str, Meta(min_length=1, max_length=255)]
    node_id: Annotated[str, Meta(min_length=1, max_length=255)]
    resources: ResourcesBody
    refresh: bool = False


class ConnectAnswer(msgspec.Struct, kw_only=True):
    """``state`` is ``ready`` or ``pending``; after a ``refresh`` it may be ``draining``."""

    status: str = "success"
    node_id: str
    state: str


class DisconnectBody(msgspec.Struct, kw_only=True):
    """``grace_seconds`` is how long tasks that run there may go on."""

    node_id: Annotated[str, Meta(max_length=255)]
    grace_seconds: Annotated[float, Meta(ge=0, le=86_400)] = 30.0


class DisconnectAnswer(msgspec.Struct, kw_only=True):
    """``running`` is how many tasks run there still."""

    status: str = "success"
    node_id: str
    running: int


class ListedWorker(msgspec.Struct, kw_only=True):
    """``free`` is what of ``resources`` is not set aside for tasks."""

    node_id: str
    node_ip: str
    state: str
    resources: dict[str, Any]
    free: dict[str, Any]
    last_seen_at: str


class WorkersAnswer(msgspec.Struct, kw_only=True):
    status: str = "success"
    workers: list[ListedWorker]


class HeadAnswer(msgspec.Struct, kw_only=True):
    """``executor`` says whether Ray is used at all."""

    status: str = "success"
    port: int
    executor: str


async def connect_worker(call: Call[ConnectBody, None]) -> Reply:
    """Announce a machine; once more refreshes what is known of it."""
    body = call.body
    call.acts_on(body.node_id)
    announced = WorkerAnnounced(
        worker_id=body.node_id,
        address=body.node_ip,
        capacity=_capacity(body.resources),
        is_refresh=body.refresh,
    )
    worker = await call.services.workers.connect.connect(call.principal, announced)
    state = worker.state if body.refresh or worker.state in ("ready", "pending") else "pending"
    return JsonReply(ConnectAnswer(node_id=worker.worker_id, state=state))


async def disconnect_worker(call: Call[DisconnectBody, None]) -> Reply:
    """Give a machine no new tasks; what runs there may go on for a while."""
    body = call.body
    call.acts_on(body.node_id)
    worker = await call.services.workers.disconnect.disconnect(call.principal, body.node_id, body.grace_seconds)
    return JsonReply(DisconnectAnswer(node_id=worker.worker_id, running=worker.running))


async def get_workers(call: Call[None, None]) -> Reply:
    """List the machines that tasks run on."""
    found = await call.services.workers.list.list(call.principal)
    return JsonReply(WorkersAnswer(workers=[_listed(worker) for worker in found]))


async def get_head_ray_port(call: Call[None, None]) -> Reply:
    """Say where the head of Ray listens, or would."""
    settings = call.context.settings
    return JsonReply(HeadAnswer(port=settings.ray_head_port, executor=settings.executor))


def _capacity(told: ResourcesBody) -> Capacity:
    gpus: list[Gpu] = []
    for device in (told.gpu_resource or {}).values():
        first = len(gpus) if device.gpu_id is None else device.gpu_id
        gpus.extend(Gpu(number=first + further, memory=device.gpu_mem) for further in range(device.gpu_num))
    return Capacity(cpu=told.cpu, memory=told.cpu_mem, gpus=tuple(gpus))


def _listed(worker: Worker) -> ListedWorker:
    capacity = worker.capacity
    return ListedWorker(
        node_id=worker.worker_id,
        node_ip=worker.address,
        state=worker.state,
        resources={
            "cpu": capacity.cpu,
            "cpu_mem": capacity.memory,
            "gpu_resource": {
                str(gpu.number): {"gpu_id": gpu.number, "gpu_mem": gpu.memory, "gpu_num": 1} for gpu in capacity.gpus
            },
        },
        free=_amounts(worker.free),
        last_seen_at=rfc3339(worker.last_seen_at),
    )


def _amounts(resources: Resources) -> dict[str, float]:
    return {word: getattr(resources, name) for name, word in RESOURCE_WORDS.items()}
