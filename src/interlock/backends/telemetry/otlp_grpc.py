"""Figures to a collector of OpenTelemetry by gRPC."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Sequence
from concurrent.futures import Future
from urllib.parse import urlsplit

import grpc
from prometheus_client.core import Metric

from interlock.backends.telemetry.otlp import OtlpWriter, read_answer
from interlock.backends.telemetry.pushing import ROUND_SECONDS, NotSentError, NotTaken
from interlock.kit.hosts import in_url

PORT = 4317
_METHOD = "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export"
_OPTIONS = (
    ("grpc.enable_http_proxy", 0),  # nothing but the settings says where figures go
    ("grpc.use_local_subchannel_pool", 1),  # what failed a minute ago is tried anew
)
_MOST_REASON = 300


class OtlpGrpcSender:
    """Satisfies ``pushing.Sender``. ``url`` names host and port; ``https`` is TLS with the system's authorities.

    Each time it connects anew, once a minute: so a connection that broke meanwhile costs no round.
    """

    name = "otlp"

    def __init__(self, url: str, writer: OtlpWriter) -> None:
        parts = urlsplit(url)
        self._target = f"dns:///{in_url(parts.hostname or '')}:{parts.port or PORT}"
        self._credentials = grpc.ssl_channel_credentials(_authorities()) if parts.scheme == "https" else None
        self._writer = writer

    async def send(self, figures: Sequence[Metric]) -> NotTaken | None:
        """Send them as one message."""
        message = await asyncio.to_thread(self._writer.write, figures)
        channel = self._channel()
        try:
            return read_answer(await _call(channel, message))
        except grpc.RpcError as error:
            raise NotSentError(f"{error.code().name}: {error.details()}"[:_MOST_REASON]) from error
        finally:
            channel.close()

    def _channel(self) -> grpc.Channel:
        if self._credentials is None:
            return grpc.insecure_channel(self._target, _OPTIONS)
        return grpc.secure_channel(self._target, self._credentials, _OPTIONS)


async def _call(channel: grpc.Channel, message: bytes) -> bytes:
    """Make the call on the threads of gRPC, so that it holds none of ours. Raises grpc.RpcError."""
    answered: Future[bytes] = Future()

    def settle(call: grpc.Future) -> None:
        if not answered.set_running_or_notify_cancel():
            return  # nobody waits any more
        error = call.exception()
        if error is None:
            answered.set_result(call.result())
        else:
            answered.set_exception(error)

    channel.unary_unary(_METHOD).future(message, timeout=ROUND_SECONDS).add_done_callback(settle)
    return await asyncio.wrap_future(answered)


def _authorities() -> bytes | None:
    """Whom this system trusts, as for every other call; None, which is gRPC's own list, if no file says that."""
    known = ssl.create_default_context().get_ca_certs(binary_form=True)
    return "".join(map(ssl.DER_cert_to_PEM_cert, known)).encode() or None
