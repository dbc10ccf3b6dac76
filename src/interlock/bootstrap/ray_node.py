"""This machine as a node of a Ray whose head is elsewhere."""

from __future__ import annotations

import socket
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from interlock.backends.executor.ray.messages import NodePlan
from interlock.backends.executor.ray.own_node import OwnNode, OwnNodeError
from interlock.bootstrap.ray_head import refuse_no_token, token_file, way_to
from interlock.config import Settings, driver_environment
from interlock.core.errors import ErrorKind, InterlockError
from interlock.doors.cli.programs import JoinOptions
from interlock.kit.hosts import in_url

_WRONG_TOKEN = "InvalidAuthToken"  # noqa: S105 - how Ray names the refusal
"""Of Ray's own words."""


@dataclass(frozen=True)
class RayNode:
    """Satisfies ``doors/cli/programs.JoinedNode``."""

    worker_id: str
    address: str
    cpu: float
    memory: float
    gpus: int
    node: OwnNode

    async def ended(self) -> str:
        """Wait until it is dead; why, in words."""
        return await self.node.ended()

    async def stop(self, grace: float) -> None:
        """End its processes, and no others of Ray, within ``grace`` seconds."""
        await self.node.stop(grace)


async def join(settings: Settings, options: JoinOptions) -> RayNode:
    """Start a node that joins.

    Raises UNAVAILABLE if the head is away, RULE without Ray or the head's token, and for an address of another machine.
    """
    if find_spec("ray") is None:
        raise InterlockError(
            ErrorKind.RULE,
            "SETTINGS_RAY_MISSING",
            "Ray is not installed on this machine",
            details={"next": "Install it with `pip install 'interlock[ray]'`."},
        )
    environment = driver_environment()
    token = options.auth_file or token_file(settings, environment)
    refuse_no_token(token)
    if options.address is not None:
        _refuse_foreign(options.address)
    try:
        head = socket.gethostbyname(options.host)
        address = options.address or way_to(head, options.port)
    except OSError as error:
        raise _not_joined(f"There is no way to {options.host}: {error}") from error
    plan = NodePlan(
        address=address,
        folder="",
        join=f"{in_url(head)}:{options.port}",
        cpus=options.num_cpus,
        gpus=options.num_gpus,
        memory=options.memory,
    )
    node = OwnNode(plan, folder=_folder(settings), token=token, environment=environment)
    try:
        told = await node.start()
    except OwnNodeError as error:
        if _WRONG_TOKEN in str(error):
            raise _wrong_token(plan.join, token) from error
        raise _not_joined(f"The Ray at {plan.join} was not joined: {error}") from error
    return RayNode(told.worker, told.address, told.cpu, told.memory, told.gpus, node)


def _folder(settings: Settings) -> Path:
    return settings.data_dir / "ray-node"


def _refuse_foreign(address: str) -> None:
    """Raise RULE for an address that this machine does not have: Ray would try in vain to listen there."""
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            probe.bind((address, 0))
    except OSError as error:
        raise InterlockError(
            ErrorKind.RULE,
            "SETTINGS_RAY_ADDRESS",
            f"{address} is not an address of this machine: {error.strerror}",
            details={"next": "Leave --node-ip out, or name an address of this machine that the head reaches."},
        ) from error


def _wrong_token(ray: str, token: Path) -> InterlockError:
    return InterlockError(
        ErrorKind.RULE,
        "SETTINGS_RAY_TOKEN",
        f"The Ray at {ray} does not take the token in {token}",
        details={"next": "Copy the file `ray/token` of the head's data directory here again."},
    )


def _not_joined(message: str) -> InterlockError:
    return InterlockError(ErrorKind.UNAVAILABLE, "RAY_NOT_JOINED", message, retryable=True)
