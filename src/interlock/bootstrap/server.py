"""One server process: the parts, the HTTP port in front of them, and a clean end."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import gc
import resource
import signal
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager

import structlog
import uvicorn
from starlette.types import ASGIApp

from interlock.bootstrap.last_calls import take_no_more
from interlock.bootstrap.models import model_mode
from interlock.bootstrap.parts import VERSION, Parts, start_parts
from interlock.bootstrap.shared import limits_of
from interlock.bootstrap.siblings import Siblings
from interlock.config import Settings, reads_dotenv
from interlock.core.errors import ErrorKind, InterlockError
from interlock.doors.http.app_factory import build_app
from interlock.doors.http.plumbing.client import ClientAddresses
from interlock.doors.http.plumbing.connections import Connections, WireLimits
from interlock.doors.http.plumbing.context import Context, DoorSeats, Drain, SumUp, only_own
from interlock.doors.http.plumbing.settings import HttpSettings
from interlock.doors.http.plumbing.socket_wire import MAX_FRAME, SocketWire
from interlock.doors.http.plumbing.wire import protocol_over
from interlock.kit.hosts import in_url, is_everywhere

FAREWELL_SECONDS = 0.5
"""How long a stopping server still answers, so that callers hear with an answer that this connection ends."""

LAST_SECONDS = 0.1
"""How long those may take to ask who came at the very end."""

_MAX_OPEN_FILES = 65_536
_SHARE_OF_CONNECTIONS = 0.7
"""Of the files a process may have open; the rest is for the database, children and artifacts."""

_ACCEPTED_AT_ONCE = 16
"""Connections that one turn of the loop takes: one for each handle on the listening socket, which libuv asks once a
turn. With a single one, whoever comes while the server is busy waits for as many turns as others wait before."""

_UNSENT_BYTES = 256 * 1024
"""What the system holds for a client that takes nothing; without it, megabytes before anybody notices."""

log = structlog.get_logger("bootstrap")

_REMEDIES = {
    errno.EADDRINUSE: "Choose another port with --port, or stop what uses this one.",
    errno.EACCES: "Choose a port from 1024 on with --port; lower ones need special rights.",
}


def http_settings(settings: Settings, sandbox: str = "none") -> HttpSettings:
    """The doors' branch of the settings. ``sandbox`` are the walls around users' code."""
    return HttpSettings(
        version=VERSION,
        environment=settings.profile,
        debug=settings.profile in ("local", "development"),
        is_local=settings.local,
        allows_remote=settings.local_allow_remote,
        allow_key_in_url=settings.local if settings.allow_key_in_url is None else settings.allow_key_in_url,
        allowed_hosts=_names(settings),
        allowed_origins=frozenset(settings.cors_origins),
        allows_cookies=settings.cors_allow_credentials,
        access_log=settings.access_log,
        metrics_enabled=settings.serves_metrics,
        mode=model_mode(settings),
        env_loaded=reads_dotenv(),
        executor=settings.executor,
        ray_head_port=settings.ray_port,
        sandbox=sandbox,
    )


def _names(settings: Settings) -> frozenset[str]:
    """The names this server answers to; in local mode the address it was told to listen on is one of them."""
    own = () if is_everywhere(settings.host) or not settings.local else (settings.host,)
    return frozenset((*settings.trusted_hosts, *own))


def context_of(parts: Parts, sum_up: SumUp = only_own) -> Context:
    """What the HTTP doors share. ``sum_up`` makes the figures of this process those of all."""
    settings = http_settings(parts.settings, parts.sandbox)
    return Context(
        services=parts.services,
        settings=settings,
        telemetry=parts.telemetry,
        clock=parts.clock,
        ids=parts.ids,
        drain=Drain(),
        seats=DoorSeats(settings, parts.telemetry, parts.services.access.seats),
        limits=limits_of(parts.settings, parts.limits, parts.clock),
        started=parts.clock.monotonic(),
        sum_up=sum_up,
    )


@asynccontextmanager
async def running_app(settings: Settings, *, embedded: bool) -> AsyncIterator[tuple[ASGIApp, Parts, Context]]:
    """Start the parts and build their app; everything is stopped on leaving."""
    async with AsyncExitStack() as stack:
        parts = await start_parts(settings, stack, embedded=embedded)
        context = context_of(parts, await _sum_up(settings, parts, stack))
        stack.callback(context.drain.begin)
        yield build_app(context, parts.telemetry.expose), parts, context


async def _sum_up(settings: Settings, parts: Parts, stack: AsyncExitStack) -> SumUp:
    """What makes the figures of this process those of all that serve beside it."""
    if settings.siblings_dir is None:
        return only_own
    siblings = Siblings(settings.siblings_dir, parts.telemetry.expose)
    try:
        await siblings.open(stack)
    except OSError as error:
        log.warning("siblings.apart", reason=str(error), meaning="/metrics tells of one process at a time")
        return only_own
    return siblings.sum_up


class Port(uvicorn.Server):
    """Uvicorn without signal handlers of its own; ``listening`` is set once it takes connections."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.listening = asyncio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.listening.set()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


async def serve(
    settings: Settings, *, embedded: bool, on_ready: Callable[[str, Parts], None], stop: asyncio.Event | None = None
) -> None:
    """Serve until SIGTERM, SIGINT or ``stop``; the next signal breaks off the clean end. ``on_ready`` gets the URL."""
    listener = open_port(settings.host, settings.port, shared=settings.share_port)
    _calm_collector()
    stopping = stop or asyncio.Event()
    _on_signals(stopping)
    try:
        settings = settings.model_copy(update={"public_url": settings.public_url or url_of(listener)})
        async with running_app(settings, embedded=embedded) as (app, parts, context):
            connections = Connections(
                WireLimits(per_address=settings.connections_per_address, total=_most_connections()),
                ClientAddresses(settings.trusted_proxies).is_proxy,
                parts.telemetry.connection_refused,
            )
            port = Port(
                uvicorn.Config(
                    app,
                    log_config=None,
                    access_log=False,
                    lifespan="off",
                    loop="uvloop",
                    http=protocol_over(connections, context.doorstep),
                    ws=SocketWire,
                    ws_max_size=MAX_FRAME,
                    ws_ping_interval=20.0,
                    ws_ping_timeout=25.0,
                    ws_per_message_deflate=False,
                    server_header=False,
                    proxy_headers=False,
                    timeout_keep_alive=75,
                    timeout_graceful_shutdown=max(1, int(settings.shutdown_grace_seconds / 2)),
                )
            )
            doors = [listener, *(listener.dup() for _ in range(_ACCEPTED_AT_ONCE - 1))]
            serving = asyncio.create_task(port.serve(sockets=doors))
            await asyncio.wait(
                {serving, asyncio.create_task(port.listening.wait())}, return_when=asyncio.FIRST_COMPLETED
            )
            on_ready(url_of(listener), parts)
            waiting = asyncio.create_task(stopping.wait())
            await asyncio.wait({serving, waiting}, return_when=asyncio.FIRST_COMPLETED)
            parts.engine.drain()
            context.drain.begin()
            await _bid_farewell(connections, listener)
            port.should_exit = True
            await serving
            waiting.cancel()
    finally:
        listener.close()


def open_port(host: str, port: int, *, shared: bool = False) -> socket.socket:
    """A listening address, ``shared`` with other processes of ours.

    Raises UNAVAILABLE with the reason if it is taken or not ours.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, _UNSENT_BYTES)
    if shared:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    try:
        listener.bind((host, port))
    except OSError as error:
        listener.close()
        raise InterlockError(
            ErrorKind.UNAVAILABLE,
            "PORT_UNAVAILABLE",
            f"Cannot listen on {in_url(host)}:{port}: {error.strerror}",
            details={"next": _REMEDIES.get(error.errno or 0, "Choose another address with --host.")},
        ) from error
    listener.setblocking(False)
    return listener


def url_of(listener: socket.socket) -> str:
    """Where this machine reaches a listening address, which may be all of its own."""
    host, number = listener.getsockname()[:2]
    if is_everywhere(host):
        host = "::1" if listener.family is socket.AF_INET6 else "127.0.0.1"
    return f"http://{in_url(host)}:{number}"


async def _bid_farewell(connections: Connections, listener: socket.socket) -> None:
    """Let every connection end with its next answer, for a moment; those that are still idle then are just closed.

    At the end nobody new is let in, and whoever waits at the door still is.
    """
    connections.is_draining = True
    await connections.wait_empty(FAREWELL_SECONDS)
    take_no_more(listener)
    await asyncio.sleep(LAST_SECONDS)  # in which those that wait are taken
    await connections.wait_empty(LAST_SECONDS)


def _most_connections() -> int:
    """How many connections this process can hold, after it has taken all the room it may have."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _MAX_OPEN_FILES if hard == resource.RLIM_INFINITY else min(hard, _MAX_OPEN_FILES)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
        soft = wanted
    return int(_SHARE_OF_CONNECTIONS * (wanted if soft == resource.RLIM_INFINITY else soft))


def _calm_collector() -> None:
    """Look for garbage cycles rarely: executions are many small objects that live briefly and have none."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 20)


def _on_signals(stopping: asyncio.Event) -> None:
    loop = asyncio.get_running_loop()

    def ask(number: int) -> None:
        stopping.set()
        for again in (signal.SIGINT, signal.SIGTERM):  # the next one breaks off the clean end
            loop.remove_signal_handler(again)
            signal.signal(again, signal.SIG_DFL)

    for number in (signal.SIGINT, signal.SIGTERM):
        with contextlib.suppress(ValueError, RuntimeError):  # not in the main thread: whoever runs us stops us
            loop.add_signal_handler(number, ask, number)
