"""A Ray of this server's own that other machines can join, and nodes that join one."""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

from interlock.backends.executor.ray.ground import clear, keep_token, on_loopback, with_token
from interlock.backends.executor.ray.messages import NodePlan
from interlock.backends.executor.ray.own_head import OwnHead
from interlock.backends.executor.ray.own_node import OwnNode
from interlock.config import Settings
from interlock.core.errors import ErrorKind, InterlockError
from interlock.kit.hosts import in_url, is_everywhere, is_loopback

LOOPBACK = "127.0.0.1"
_MIN_CPUS = 4
_ELSEWHERE = "192.0.2.1"
"""An address of no machine: the way there is the way out of this one. Nothing is sent."""


@dataclass(frozen=True)
class Cluster:
    """Where a Ray is, and what its clients see to reach it."""

    address: str
    environment: dict[str, str]


def has_own_head(settings: Settings) -> bool:
    """Whether this server brings a Ray that others can join."""
    return settings.executor == "ray" and settings.ray_head and not settings.ray_address


def token_file(settings: Settings, environment: Mapping[str, str]) -> Path:
    """The file of the token that a head of ours asks for: the one that was named, or one in the data directory."""
    named = environment.get("RAY_AUTH_TOKEN_PATH")
    return Path(named) if named else settings.data_dir / "ray" / "token"


def start_head(settings: Settings, environment: Mapping[str, str], stack: AsyncExitStack) -> Cluster:
    """Start a head, which ``stack`` ends; it is there some seconds later. Needs a running loop.

    Raises RULE for an address that other machines cannot use, and for a token file that is not there.
    """
    address, folder = own_address(settings.host), settings.data_dir / "ray"
    token = token_file(settings, environment)
    if token == folder / "token":
        token = keep_token(folder)
    refuse_no_token(token)
    clear(folder)  # what Rays left that were this server's before
    plan = NodePlan(address=address, folder="", port=settings.ray_head_port, cpus=max(_MIN_CPUS, os.cpu_count() or 1))
    head = OwnHead(lambda: OwnNode(plan, folder=folder, token=token, environment=environment))
    head.start()
    stack.push_async_callback(head.stop, settings.shutdown_grace_seconds / 4)
    seen = with_token(environment, token)
    return Cluster(
        address=f"{in_url(address)}:{settings.ray_head_port}",
        environment=on_loopback(seen) if is_loopback(address) else seen,
    )


def own_address(host: str) -> str:
    """The address at which other machines reach the one that serves on ``host``. Raises RULE if that is unknown."""
    if is_loopback(host):
        return LOOPBACK
    try:
        return way_to(_ELSEWHERE, 9) if is_everywhere(host) else socket.gethostbyname(host)
    except OSError as error:
        raise InterlockError(
            ErrorKind.RULE,
            "SETTINGS_RAY_HOST",
            f"Which address of this machine Ray is to listen on is not to be found out from {host}: {error}",
            details={"next": "Name an address of this machine with --host."},
        ) from error


def way_to(host: str, port: int) -> str:
    """The address of this machine from which another one is reached. Raises OSError without a way."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect((host, port))
        address: str = probe.getsockname()[0]
        return address


def refuse_no_token(token: Path) -> None:
    """Raise RULE if there is no token in that file."""
    try:
        has_token = bool(token.read_text().strip())
    except (OSError, UnicodeDecodeError):
        has_token = False
    if not has_token:
        raise InterlockError(
            ErrorKind.RULE,
            "SETTINGS_RAY_TOKEN",
            f"There is no token for Ray in {token}",
            details={
                "next": "Copy the file `ray/token` of the head's data directory here, and name it with --auth-file."
            },
        )
