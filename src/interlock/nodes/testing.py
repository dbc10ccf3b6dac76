"""What the test of a node needs: an attempt to run, and services that keep what they are given.

For the tests of shipped nodes and of anybody's own.
"""

from __future__ import annotations

import asyncio
import hashlib
import inspect
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from interlock.core.events import ArtifactRef
from interlock.core.models.requests import Kind
from interlock.core.webhook import make_secret
from interlock.ports.egress import Egress, EgressResponse
from interlock.ports.node import Attempt, Node, Outcome
from interlock.ports.webhooks import WebhookCall

WEBHOOK_SECRET = make_secret(b"0123456789abcdef" * 2)
WEBHOOK_AT = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)


def make_attempt(node: Node, parameters: dict[str, Any], *, timeout: float = 5.0) -> Attempt:
    """The first attempt of a task of ``node``, as an engine would hand it out. ``timeout`` is seconds."""
    return Attempt(
        execution_id=UUID(int=1),
        tenant_id="tenant",
        task_id="task",
        node_id="task",
        attempt=1,
        node_type=node.type.name,
        parameters=parameters,
        timeout=timeout,
        trace_id="trace",
    )


@dataclass
class KeptServices:
    """Services that keep artifacts in ``artifacts`` and progress in ``reports``; calls go to ``egress``.

    Models give ``answers``, one after the other, and what they were asked is in ``asked``.
    """

    egress: Egress = field(default_factory=lambda: ScriptedEgress([]))
    artifacts: dict[str, bytes] = field(default_factory=dict)
    reports: list[tuple[float | None, str, Any]] = field(default_factory=list)
    answers: list[dict[str, Any]] = field(default_factory=list)
    asked: list[tuple[str, dict[str, Any]]] = field(default_factory=list)

    async def write_artifact(self, name: str, content: bytes, content_type: str) -> ArtifactRef:
        """Keep the content under its name."""
        self.artifacts[name] = content
        return ArtifactRef(name, len(content), hashlib.sha256(content).hexdigest(), content_type)

    async def webhook_call(self, node_id: str | None, seconds: float | None) -> WebhookCall:
        """The same call for everybody, signed with ``WEBHOOK_SECRET`` at ``WEBHOOK_AT``."""
        return WebhookCall(
            session_id="session",
            callback_url="http://interlock.test/api/workflow/1/callback?ct=token",
            callback_token="token",  # noqa: S106 - nobody takes it
            deadline=WEBHOOK_AT + timedelta(seconds=seconds or 3600),
            now=WEBHOOK_AT,
            secrets=(WEBHOOK_SECRET,),
            headers={"X-Kept": node_id} if node_id is not None else {},
            endpoint=f"https://{node_id}.example/run" if node_id is not None else None,
        )

    async def model_call(self, kind: Kind, body: dict[str, Any]) -> dict[str, Any]:
        """The next of ``answers``; what was asked is in ``asked``."""
        self.asked.append((kind, body))
        return self.answers.pop(0)

    def report(self, progress: float | None = None, message: str = "", data: Any = None) -> None:
        """Keep what was reported, all of it."""
        self.reports.append((progress, message, data))


@dataclass
class ScriptedEgress:
    """Gives its answers one after the other and keeps the ``calls`` made. An error among the answers is raised."""

    answers: list[EgressResponse | Exception]
    calls: list[dict[str, Any]] = field(default_factory=list)

    async def request(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str],
        body: bytes | None,
        timeout: float,
        max_bytes: int,
        follow_redirects: bool = False,
    ) -> EgressResponse:
        """The next answer."""
        self.calls.append(
            {"method": method, "url": url, "headers": dict(headers), "body": body}
            | {"timeout": timeout, "max_bytes": max_bytes, "follow_redirects": follow_redirects}
        )
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer


def run_node(node: Node, parameters: dict[str, Any], services: KeptServices | None = None) -> Outcome:
    """The outcome of running ``node`` once, plain or async; what it raises is raised."""
    outcome = node.run(make_attempt(node, parameters), services or KeptServices())
    return asyncio.run(_awaited(outcome)) if inspect.isawaitable(outcome) else outcome


async def _awaited(outcome: Any) -> Outcome:
    result: Outcome = await outcome
    return result
