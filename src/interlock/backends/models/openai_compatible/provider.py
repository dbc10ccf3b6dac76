"""Calls to a provider by its base URL, through the guarded egress client."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager

from interlock.core.models.requests import Kind
from interlock.ports.egress import StreamingEgress
from interlock.ports.models import Upstream

HEAD_SECONDS = 300.0
"""How long a provider may think before its answer begins."""
IDLE_SECONDS = 60.0
"""How long it may pause within an answer."""

_PATHS: Mapping[Kind, str] = {"chat": "/chat/completions", "embeddings": "/embeddings"}
_DASHSCOPE_BATCH = 10
_DASHSCOPE_HOSTS = ("dashscope.aliyuncs.com", "dashscope-intl.aliyuncs.com", ".maas.aliyuncs.com")


class OpenAICompatible:
    """Satisfies ``ports/models.Provider``.

    Nothing of the caller's headers is sent on: the provider gets the operator's key, the body, and for work that may
    be asked for again an Idempotency-Key of ours. ``batch`` is how
    many texts one embeddings call takes; None: DashScope's ten for its hosts, and no limit for others.
    """

    def __init__(
        self,
        name: str,
        base_url: str,
        api_key: str,
        egress: StreamingEgress,
        *,
        batch: int | None = None,
        head_timeout: float = HEAD_SECONDS,
        idle_timeout: float = IDLE_SECONDS,
    ) -> None:
        self._name = name
        self._base_url = base_url.rstrip("/")
        self._headers = {"Content-Type": "application/json"}
        if api_key:
            self._headers["Authorization"] = f"Bearer {api_key}"
        self._egress = egress
        self._batch = batch or (_DASHSCOPE_BATCH if _is_dashscope(base_url) or name == "dashscope" else None)
        self._timeouts = (head_timeout, idle_timeout)

    @property
    def name(self) -> str:
        return self._name

    def call(self, kind: Kind, body: bytes, key: str = "") -> AbstractAsyncContextManager[Upstream]:
        """Send one request, as the port promises."""
        head, idle = self._timeouts
        url = self._base_url + _PATHS[kind]
        headers = {**self._headers, "Idempotency-Key": key} if key else self._headers
        return self._egress.open("POST", url, headers=headers, body=body, timeout=head, idle=idle)

    def batch_of(self, model: str) -> int | None:
        return self._batch


def _is_dashscope(base_url: str) -> bool:
    host = base_url.partition("://")[2].partition("/")[0].partition(":")[0].lower()
    return host.endswith(_DASHSCOPE_HOSTS)
