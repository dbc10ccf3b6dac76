"""What the HTTP doors need to know of the installation: made once by ``bootstrap``, never read from the environment."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpSettings:
    """The doors' branch of the settings. Sizes are bytes, times seconds.

    ``allowed_hosts`` are names without port, in local mode beside the loopback ones; empty means any host, except in
    local mode. ``allows_remote`` lets other machines call in local mode.
    ``allowed_origins`` are origins of browsers beside the loopback ones of local mode, or ``*`` for all outside it;
    ``allows_cookies`` lets their pages send cookies, which nothing here reads. ``env_loaded``: a `.env` was read.
    """

    version: str
    environment: str = "production"
    debug: bool = False
    is_local: bool = False
    allows_remote: bool = False
    allow_key_in_url: bool = False
    allowed_hosts: frozenset[str] = frozenset()
    allowed_origins: frozenset[str] = frozenset()
    allows_cookies: bool = False
    access_log: bool = True
    metrics_enabled: bool = True
    mode: str = "offline"
    env_loaded: bool = False
    executor: str = "local"
    sandbox: str = "none"
    title: str = "Interlock"
    max_body: int = 1_048_576
    ray_head_port: int = 6379
    streams_per_principal: int = 20
    streams_per_tenant: int = 1_000


class HttpTelemetry(Protocol):
    """What the doors report. ``route`` is a template, so that labels are bounded. Durations are seconds."""

    def request_ended(self, route: str, method: str, status: int, seconds: float) -> None: ...

    def auth_failed(self, door: str, reason: str) -> None: ...

    def stream_opened(self, door: str) -> None: ...

    def stream_closed(self, door: str) -> None: ...

    def stream_dropped(self, door: str) -> None: ...

    def streams_open(self, door: str) -> int: ...


class NoTelemetry:
    """Counts nothing."""

    def request_ended(self, route: str, method: str, status: int, seconds: float) -> None: ...

    def auth_failed(self, door: str, reason: str) -> None: ...

    def stream_opened(self, door: str) -> None: ...

    def stream_closed(self, door: str) -> None: ...

    def stream_dropped(self, door: str) -> None: ...

    def streams_open(self, door: str) -> int:
        return 0
