"""What every sender of figures promises, and what is made of one that cannot send."""

from __future__ import annotations

import asyncio
import fcntl
import os
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import grpc
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from collector_house import Collector, grpc_collector, http_collector
from interlock.backends.egress.client import GuardedEgress
from interlock.backends.telemetry.console import ConsoleSender
from interlock.backends.telemetry.otlp import OtlpWriter
from interlock.backends.telemetry.otlp_grpc import OtlpGrpcSender
from interlock.backends.telemetry.otlp_http import OtlpHttpSender
from interlock.backends.telemetry.prometheus import PrometheusTelemetry
from interlock.backends.telemetry.pushing import NotSentError, NotTaken, Pushing, Sender, points_of
from interlock.kit.clock import SystemClock

PATH = "/v1/metrics"
RESOURCE = {"service.name": "interlock", "service.instance.id": "one"}
ROUTE = ("interlock_http_requests_total", frozenset({("route", "/a"), ("method", "GET"), ("status", "200")}))


@pytest.fixture
async def egress() -> AsyncIterator[GuardedEgress]:
    client = GuardedEgress(("loopback",))
    yield client
    await client.close()


@dataclass
class House:
    """A transport: a collector that listens, and what makes a sender to an address."""

    collector: Collector
    to: Callable[[str], Sender]

    @property
    def sender(self) -> Sender:
        return self.to(self.collector.url)


@pytest.fixture(params=["otlp", "otlp_http"])
def house(request: pytest.FixtureRequest, egress: GuardedEgress) -> Iterator[House]:
    writer = OtlpWriter(RESOURCE, SystemClock())
    with ExitStack() as stack:
        if request.param == "otlp":
            yield House(stack.enter_context(grpc_collector()), lambda url: OtlpGrpcSender(url, writer))
        else:
            yield House(stack.enter_context(http_collector()), lambda url: OtlpHttpSender(url + PATH, writer, egress))


@pytest.fixture
def telemetry() -> PrometheusTelemetry:
    told = PrometheusTelemetry("1.0")
    told.request_ended("/a", "GET", 200, 0.01)
    return told


@pytest.fixture
def closed() -> Iterator[str]:
    """An address at which nobody listens, and nobody else can begin to."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{held.getsockname()[1]}"


@pytest.fixture
def silent() -> Iterator[str]:
    """An address that takes connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"


def lost_by(telemetry: PrometheusTelemetry, exporter: str) -> float:
    found = telemetry.registry.get_sample_value("interlock_metrics_points_lost_total", {"exporter": exporter})
    return found or 0.0


async def test_figures_arrive_by_no_proxy(
    house: House, telemetry: PrometheusTelemetry, closed: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("http_proxy", "https_proxy", "grpc_proxy"):
        monkeypatch.setenv(name, closed)
    assert await house.sender.send(telemetry.figures()) is None
    assert house.collector.last()[ROUTE] == 1
    assert house.collector.resources() == [RESOURCE]
    if house.sender.name == "otlp_http":
        assert house.collector.asked == ["/v1/metrics application/x-protobuf"]


async def test_what_a_collector_leaves_out_is_said(house: House, telemetry: PrometheusTelemetry) -> None:
    house.collector.rejected = 3
    assert await house.sender.send(telemetry.figures()) == NotTaken(3, "too many series")


async def test_a_refusal_is_no_success(house: House, telemetry: PrometheusTelemetry) -> None:
    house.collector.status = 503
    with pytest.raises(NotSentError, match=r"status 503|UNAVAILABLE: full for now"):
        await house.sender.send(telemetry.figures())


async def test_where_nobody_listens_it_says_so(house: House, telemetry: PrometheusTelemetry, closed: str) -> None:
    with pytest.raises(NotSentError, match=r"(?i)refused|connect"):
        await house.to(closed).send(telemetry.figures())


async def test_tls_is_never_left_out(house: House, telemetry: PrometheusTelemetry) -> None:
    with pytest.raises(NotSentError):
        await house.to(house.collector.url.replace("http:", "https:")).send(telemetry.figures())
    assert house.collector.asked == []


async def test_by_grpc_those_are_trusted_whom_the_system_trusts(
    telemetry: PrometheusTelemetry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    key, certificate = own_certificate("localhost")
    (tmp_path / "trusted.pem").write_bytes(certificate)
    writer = OtlpWriter(RESOURCE, SystemClock())
    with grpc_collector(grpc.ssl_server_credentials([(key, certificate)])) as collector:
        stranger = OtlpGrpcSender(collector.url, writer)
        monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "trusted.pem"))
        assert await OtlpGrpcSender(collector.url, writer).send(telemetry.figures()) is None
        with pytest.raises(NotSentError, match="UNAVAILABLE"):
            await stranger.send(telemetry.figures())
        assert len(collector.asked) == 1


def own_certificate(name: str) -> tuple[bytes, bytes]:
    """A key, and a certificate of it that nobody else has signed, as PEM."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    begins = datetime.now(UTC) - timedelta(days=1)
    builder = x509.CertificateBuilder(subject, subject, key.public_key(), 1, begins, begins + timedelta(days=30))
    certificate = (
        builder.add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    plain = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return key.private_bytes(*plain), certificate.public_bytes(serialization.Encoding.PEM)


async def test_a_redirect_is_not_followed(egress: GuardedEgress, telemetry: PrometheusTelemetry) -> None:
    with http_collector() as collector:
        collector.status = 307
        with pytest.raises(NotSentError, match="status 307"):
            await OtlpHttpSender(collector.url + PATH, OtlpWriter(RESOURCE, SystemClock()), egress).send(
                telemetry.figures()
            )
        assert [line for line in collector.asked if "elsewhere" in line] == []


async def test_silence_ends_with_the_time_there_is_and_all_points_are_counted(
    house: House, telemetry: PrometheusTelemetry, silent: str
) -> None:
    sender = house.to(silent)
    points = points_of(telemetry.figures())
    await Pushing(sender, telemetry.figures, telemetry.points_lost).stop(0.2)
    assert lost_by(telemetry, sender.name) == points


async def test_rounds_go_on_after_one_that_failed_and_tell_what_was_lost(
    house: House, telemetry: PrometheusTelemetry
) -> None:
    house.collector.status = 503
    pushing = Pushing(house.sender, telemetry.figures, telemetry.points_lost, every=0.05)
    pushing.start()
    await asyncio.to_thread(house.collector.wait_refused, 1)
    house.collector.status = 200
    await asyncio.to_thread(house.collector.wait, 2)
    await pushing.stop(5.0)
    lost = ("interlock_metrics_points_lost_total", frozenset({("exporter", house.sender.name)}))
    assert house.collector.last()[lost] == lost_by(telemetry, house.sender.name) > 0


async def test_an_error_of_ours_ends_no_rounds(telemetry: PrometheusTelemetry) -> None:
    twice = asyncio.Event()
    calls: list[Any] = []

    def collect() -> list[Any]:
        calls.append(None)
        if len(calls) == 1:
            raise KeyError("a figure")
        twice.set()
        return []

    ours, theirs = os.pipe()
    pushing = Pushing(
        ConsoleSender("one", SystemClock(), descriptor=theirs), collect, telemetry.points_lost, every=0.01
    )
    pushing.start()
    async with asyncio.timeout(30):
        await twice.wait()
    await pushing.stop(5.0)
    os.close(theirs)
    os.close(ours)


async def test_the_console_has_what_prometheus_reads(telemetry: PrometheusTelemetry) -> None:
    ours, theirs = os.pipe()
    with open(ours, "rb") as reading:
        fcntl.fcntl(theirs, fcntl.F_SETPIPE_SZ, 1024 * 1024)
        await ConsoleSender("one", SystemClock(), descriptor=theirs).send(telemetry.figures())
        os.close(theirs)
        head, _, text = reading.read().decode().partition("\n")
    assert head.startswith(f"# interlock one {datetime.now(UTC).year}-")
    assert 'interlock_http_requests_total{method="GET",route="/a",status="200"} 1.0' in text


async def test_a_console_that_nobody_reads_holds_up_nothing(telemetry: PrometheusTelemetry) -> None:
    ours, theirs = os.pipe()
    fcntl.fcntl(theirs, fcntl.F_SETPIPE_SZ, 4096)
    sender = ConsoleSender("one", SystemClock(), descriptor=theirs)
    pushing = Pushing(sender, telemetry.figures, telemetry.points_lost)
    points = points_of(telemetry.figures())
    await pushing.stop(0.1)
    assert lost_by(telemetry, "console") == points
    with pytest.raises(NotSentError, match="nobody has read"):
        await sender.send(telemetry.figures())
    os.close(ours)  # the writer ends with its error, in its own thread


async def test_a_console_that_is_gone_is_a_reason(telemetry: PrometheusTelemetry) -> None:
    ours, theirs = os.pipe()
    os.close(ours)
    with pytest.raises(NotSentError, match="Broken pipe"):
        await ConsoleSender("one", SystemClock(), descriptor=theirs).send(telemetry.figures())
    os.close(theirs)
