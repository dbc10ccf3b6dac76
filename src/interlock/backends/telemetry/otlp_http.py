"""Figures to a collector of OpenTelemetry by HTTP."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from prometheus_client.core import Metric

from interlock.backends.telemetry.otlp import OtlpWriter, read_answer
from interlock.backends.telemetry.pushing import ROUND_SECONDS, NotSentError, NotTaken
from interlock.core.errors import InterlockError
from interlock.ports.egress import Egress

_PROTOBUF = "application/x-protobuf"
_MOST_ANSWER = 64 * 1024


class OtlpHttpSender:
    """Satisfies ``pushing.Sender``. ``url`` is where the figures are posted; a redirect is not followed."""

    name = "otlp_http"

    def __init__(self, url: str, writer: OtlpWriter, egress: Egress) -> None:
        self._url = url
        self._writer = writer
        self._egress = egress

    async def send(self, figures: Sequence[Metric]) -> NotTaken | None:
        """Post them as one message."""
        message = await asyncio.to_thread(self._writer.write, figures)
        try:
            answer = await self._egress.request(
                "POST",
                self._url,
                headers={"content-type": _PROTOBUF},
                body=message,
                timeout=ROUND_SECONDS,
                max_bytes=_MOST_ANSWER,
            )
        except InterlockError as error:
            raise NotSentError(error.message) from error
        if not 200 <= answer.status < 300:
            raise NotSentError(f"it answers with status {answer.status}")
        is_readable = answer.headers.get("content-type", "").partition(";")[0].strip() == _PROTOBUF
        return read_answer(answer.body) if is_readable else None  # what it has not taken it says in these words only
