"""Who is sent the figures, beside Prometheus, which asks for them."""

from __future__ import annotations

import asyncio
import os
from contextlib import AsyncExitStack
from importlib.util import find_spec

import structlog

from interlock.backends.egress.client import GuardedEgress
from interlock.backends.telemetry.console import ConsoleSender
from interlock.backends.telemetry.prometheus import PrometheusTelemetry
from interlock.backends.telemetry.pushing import EVERY_SECONDS, Pushing, Sender
from interlock.config import Settings
from interlock.core.errors import ErrorKind, InterlockError
from interlock.kit.clock import Clock
from interlock.kit.ids import Ids
from interlock.metrics_settings import OTLP

FLUSH_SECONDS = 5.0
"""How long the last round of a stopping server may take, at most."""
_EVERYWHERE = ("0.0.0.0/0", "::/0")
"""The operator has named the collector, and no call of a tenant goes this way."""
_FIRST = {"console": EVERY_SECONDS}
"""When the first round is, in seconds: a wrong address is best said at once, a terminal has nothing to show yet."""
_PACKAGES = {"otlp": ("opentelemetry.proto", "grpc"), "otlp_http": ("opentelemetry.proto",)}

log = structlog.get_logger("metrics")


def open_metrics(
    settings: Settings, version: str, telemetry: PrometheusTelemetry, clock: Clock, ids: Ids, stack: AsyncExitStack
) -> None:
    """Begin to send the figures to all that the settings name; ``stack`` sends them once more and ends it.

    Raises RULE if what an exporter needs is not installed. Nothing waits for an exporter.
    """
    names = settings.pushed_metrics
    if settings.metrics_endpoint and settings.metrics_enabled and not OTLP.intersection(names):
        log.warning("settings.ignored", names="INTERLOCK_METRICS_ENDPOINT", meaning="no exporter sends figures there")
    _refuse_missing(names)
    instance = str(ids.new())
    resource = _resource(settings, version, instance)
    senders = [_sender(name, settings, resource, instance, clock, stack) for name in names]
    pushings = [
        Pushing(sender, telemetry.figures, telemetry.points_lost, first=_FIRST.get(sender.name, 0.0))
        for sender in senders
    ]

    async def end() -> None:
        seconds = min(FLUSH_SECONDS, settings.shutdown_grace_seconds / 4)
        await asyncio.gather(*(pushing.stop(seconds) for pushing in pushings))

    stack.push_async_callback(end)
    for pushing in pushings:
        pushing.start()


def _sender(
    name: str, settings: Settings, resource: dict[str, str], instance: str, clock: Clock, stack: AsyncExitStack
) -> Sender:
    if name == "console":
        return ConsoleSender(instance, clock)
    from interlock.backends.telemetry.otlp import OtlpWriter  # noqa: PLC0415 - the extra may not be installed

    writer = OtlpWriter(resource, clock)
    url = settings.metrics_url(name)
    if name == "otlp":
        from interlock.backends.telemetry.otlp_grpc import OtlpGrpcSender  # noqa: PLC0415 - as above

        return OtlpGrpcSender(url, writer)
    from interlock.backends.telemetry.otlp_http import OtlpHttpSender  # noqa: PLC0415 - as above

    egress = GuardedEgress(_EVERYWHERE)
    stack.push_async_callback(egress.close)
    return OtlpHttpSender(url, writer, egress)


def _resource(settings: Settings, version: str, instance: str) -> dict[str, str]:
    """What says which process it is, in the words of OpenTelemetry; several on one port have one name."""
    return {
        "service.name": "interlock",
        "service.version": version,
        "service.instance.id": instance,
        "deployment.environment.name": settings.profile,
        "host.name": os.uname().nodename,
        "process.pid": str(os.getpid()),
    }


def _refuse_missing(names: tuple[str, ...]) -> None:
    for name in names:
        if not all(map(_is_installed, _PACKAGES.get(name, ()))):
            raise InterlockError(
                ErrorKind.RULE,
                "SETTINGS_METRICS_EXPORTER",
                f"INTERLOCK_METRICS_EXPORTER names {name}, and what speaks its protocol is not installed",
                details={"next": f"Install it with `pip install 'interlock[otlp]'`, or leave {name} out."},
            )


def _is_installed(package: str) -> bool:
    try:
        return find_spec(package) is not None
    except ModuleNotFoundError:  # nor is the package that it is in
        return False
