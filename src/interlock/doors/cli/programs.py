"""What the command line needs of the rest of the house and may not import: handed in by ``bootstrap``."""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from interlock.core.principal import LOCAL_TENANT
from interlock.core.workflow import Problem


@dataclass(frozen=True, slots=True)
class CliEnvironment:
    """What the settings say to a client: the server's address, a token if one was given, data directory, profile."""

    url: str
    token: str | None
    data_dir: Path
    profile: str = "local"


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerOptions:
    """Options of all that serve; None means: as the settings say."""

    host: str | None = None
    port: int | None = None
    data_dir: Path | None = None
    is_local: bool | None = None
    allows_remote: bool | None = None
    executor: str | None = None
    sandbox: str | None = None
    log_level: str | None = None
    log_file: Path | None = None
    has_metrics: bool | None = None
    metrics_exporter: str | None = None
    metrics_endpoint: str | None = None
    as_json: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class UpOptions(ServerOptions):
    """Options of ``up``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServeOptions(ServerOptions):
    """Options of ``serve``."""

    workers: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class HeadOptions(ServerOptions):
    """Options of ``start --head``."""

    ray_head_port: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class JoinOptions:
    """A node of Ray for this machine that joins the head at ``host`` and ``port``. ``memory`` is MiB.

    What is None is found out: ``address`` is this machine's towards the head, ``auth_file`` holds Ray's token.
    """

    host: str
    port: int
    address: str | None = None
    data_dir: Path | None = None
    auth_file: Path | None = None
    num_cpus: int | None = None
    num_gpus: int | None = None
    memory: int | None = None


class JoinedNode(Protocol):
    """A node of Ray that is this machine. ``memory`` is MiB."""

    worker_id: str
    address: str
    cpu: float
    memory: float
    gpus: int

    async def ended(self) -> str:
        """Wait until it is dead; why, in words."""
        ...

    async def stop(self, grace: float) -> None:
        """End its processes, and no others of Ray, within ``grace`` seconds."""
        ...


@dataclass(frozen=True, slots=True)
class Stopped:
    """What became of a program that this data directory had started: ``stopped``, ``killed``, or ``gone`` before."""

    command: str
    pid: int
    outcome: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoOptions:
    """Options of ``demo``; without a data directory it uses one of its own."""

    data_dir: Path | None = None
    as_json: bool = False


@dataclass(frozen=True, slots=True)
class SchemaReport:
    """The database's schema: its version, the newest this program knows, what was applied now, what is missing."""

    current: int
    newest: int
    applied: tuple[str, ...] = ()
    pending: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Check:
    """One start-up check: what was looked at, whether it holds, what was found, and what to do if it does not."""

    name: str
    is_ok: bool
    found: str
    remedy: str = ""


class Programs(Protocol):
    """Everything the command line starts or asks for without HTTP.

    Each raises ``InterlockError`` for what its user can mend; a code that begins with ``SETTINGS`` is wrong use
    (exit code 2), every other one a failure (exit code 1). What returns an ``int`` returns the exit code.
    """

    def environment(self) -> CliEnvironment:
        """What the settings say. Never raises because of a setting that only a server needs."""
        ...

    def up(self, options: UpOptions) -> int:
        """Serve in the foreground, with an embedded Postgres if none is configured, until a signal."""
        ...

    def serve(self, options: ServeOptions) -> int:
        """Serve in the foreground, over a configured Postgres, until a signal."""
        ...

    def head(self, options: HeadOptions) -> int:
        """Serve in the foreground as the machine that workers join, until a signal."""
        ...

    async def join(self, options: JoinOptions) -> JoinedNode:
        """Have this machine join a Ray. Raises UNAVAILABLE RAY_NOT_JOINED, which may pass."""
        ...

    def working(self, data_dir: Path | None, grace: float) -> AbstractContextManager[None]:
        """Have ``stop`` find this process as a worker that may take ``grace`` seconds to end."""
        ...

    def stop(self, data_dir: Path | None) -> list[Stopped]:
        """End the servers and workers that were started with this data directory, and wait for them."""
        ...

    def demo(self, options: DemoOptions) -> int:
        """Start a server and let ``demo.demonstrate`` talk to it."""
        ...

    def migrate(self) -> SchemaReport:
        """Bring the schema forward; ``applied`` says which migrations ran."""
        ...

    def schema(self) -> SchemaReport:
        """Look at the schema and change nothing."""
        ...

    def doctor(self) -> list[Check]:
        """What a start needs on this machine and with its settings, and whether it is there."""
        ...

    def mint_token(self, data_dir: Path) -> str:
        """A token for the local user, signed by the key of a data directory."""
        ...

    def mint_admin_token(self, data_dir: Path, tenant: str = LOCAL_TENANT) -> str:
        """A token of five minutes for administering ``tenant``, signed by the key of a data directory."""
        ...

    def rotate_token_key(self, data_dir: Path) -> None:
        """Sign tokens with a new key; within 5 s no server takes one of before."""
        ...

    def encryption_keys(self, data_dir: Path | None, *, rotate: bool) -> list[str]:
        """The ids of the keys that seal secrets, the newest last; with ``rotate`` that one is made now."""
        ...

    def check_file(self, source: dict[str, Any]) -> list[Problem]:
        """Everything wrong with a definition as its author wrote it; nothing if it may be stored."""
        ...
