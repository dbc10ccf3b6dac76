"""The executor on a Ray cluster, if the settings want one."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from contextlib import AsyncExitStack
from importlib.util import find_spec
from urllib.parse import urlsplit

from interlock.backends.executor.ray.executor import RayExecutor
from interlock.backends.executor.ray.messages import HostPlan
from interlock.backends.executor.sandbox.walls import Walls
from interlock.bootstrap.ray_head import Cluster, has_own_head, start_head
from interlock.bootstrap.sandbox import runs_code
from interlock.config import Settings, driver_environment
from interlock.core.errors import ErrorKind, InterlockError
from interlock.kit.hosts import is_loopback
from interlock.kit.ids import Ids
from interlock.ports.blobs import Blobs
from interlock.ports.code import CodeShelf
from interlock.ports.egress import Egress
from interlock.ports.task_log import TaskLog
from interlock.runtime.placing import Placing

_PLACES = "interlock.bootstrap.ray_host:open_places"
_ENVIRONMENT = "interlock.config:child_environment"


def open_ray(
    settings: Settings,
    *,
    registry: str,
    version: str,
    serve_url: str,
    egress: Egress,
    blobs: Blobs,
    code: CodeShelf,
    walls: Walls,
    ids: Ids,
    task_log: TaskLog,
    stack: AsyncExitStack,
) -> dict[str, RayExecutor]:
    """The executor by its name, not started; none unless it is wanted. Raises RULE for what cannot work.

    ``walls`` are those that this server puts around users' code: no node has weaker ones. A Ray for others to join is
    started now, if there is to be one; ``stack`` ends it.
    """
    if settings.executor != "ray":
        return {}
    environment = driver_environment()
    _refuse(settings, environment)
    cluster = Cluster(settings.ray_address, environment)
    if has_own_head(settings):
        cluster = start_head(settings, environment, stack)
    given = {
        "runs_code": runs_code(settings),
        "spares": settings.sandbox_spares,
        "sandbox": settings.sandbox,
        "may_be_weaker": settings.local and walls.mode in ("subprocess", "none"),
        "memory": settings.sandbox_memory_mib,
        "hidden": [str(settings.data_dir.resolve())],  # of a node on this machine
    }
    executor = RayExecutor(
        HostPlan(registry=registry, environment=_ENVIRONMENT, places=_PLACES, given=given),
        egress,
        blobs,
        session=ids.new().hex,
        house=_house(serve_url),
        version=version,
        folder=settings.data_dir / "ray",
        environment=cluster.environment,
        address=cluster.address,
        code=code,
        task_log=task_log,
        call_lines=settings.ray_call_tasks,
        uses_socket=settings.ray_socket,
    )
    return {executor.name: executor}


def place_here(executor: RayExecutor, placing: Placing) -> None:
    """Have tasks placed on the server's own machine only as long as the executor runs what is placed there."""

    def look() -> None:
        placing.set_local(is_open=executor.takes_own())

    executor.on_change = look
    look()


def _house(serve_url: str) -> str:
    """A name of the database: servers of one database share hosts, and nobody else does."""
    parts = urlsplit(serve_url)
    place = f"{parts.hostname}:{parts.port}{parts.path}?{parts.query}"
    return hashlib.sha256(place.encode()).hexdigest()[:12]


def _refuse(settings: Settings, environment: Mapping[str, str]) -> None:
    if find_spec("ray") is None:
        raise _rule(
            "SETTINGS_RAY_MISSING",
            "INTERLOCK_EXECUTOR is ray, and Ray is not installed",
            "Install it with `pip install 'interlock[ray]'`, or say INTERLOCK_EXECUTOR=local.",
        )
    if not settings.ray_address and settings.share_port:
        raise _rule(
            "SETTINGS_RAY_ADDRESS",
            "Several processes serve, and each would start a Ray of its own",
            "Start one Ray and set INTERLOCK_RAY_ADDRESS, or leave --workers out.",
        )
    host = urlsplit(f"//{settings.ray_address}").hostname
    has_token = environment.get("RAY_AUTH_MODE", "").lower() == "token" or any(
        environment.get(name) for name in ("RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH")
    )
    if host and not is_loopback(host) and not has_token:
        raise _rule(
            "SETTINGS_RAY_OPEN",
            f"The Ray cluster at {host} is to be reached without a token: whoever reaches it can run code there",
            "Start it with RAY_AUTH_MODE=token, and set that and RAY_AUTH_TOKEN_PATH for this server, too.",
        )


def _rule(code: str, message: str, remedy: str) -> InterlockError:
    return InterlockError(ErrorKind.RULE, code, message, details={"next": remedy})
