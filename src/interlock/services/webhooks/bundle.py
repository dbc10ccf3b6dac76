"""The use cases of webhooks, in both directions, and what they stand on."""

from __future__ import annotations

from dataclasses import dataclass

from interlock.kit.clock import Clock
from interlock.kit.ids import Ids
from interlock.ports.egress import CheckUrl
from interlock.ports.engine import Engine
from interlock.ports.store import Store
from interlock.ports.telemetry import WebhookTelemetry
from interlock.ports.webhooks import SigningSecrets, WebhookRows
from interlock.services.callbacks.prove import ProveCallbacks
from interlock.services.callbacks.receive import ReceiveCallbacks
from interlock.services.webhooks.deliveries import ManageDeliveries
from interlock.services.webhooks.subscribe import ManageWebhooks


@dataclass(frozen=True, slots=True)
class WebhookPorts:
    """What webhooks need beside the store and the engine."""

    rows: WebhookRows
    secrets: SigningSecrets
    telemetry: WebhookTelemetry
    check_url: CheckUrl


@dataclass(frozen=True, slots=True)
class Webhooks:
    """What can be asked about webhooks; ``receive`` takes callbacks."""

    subscriptions: ManageWebhooks
    deliveries: ManageDeliveries
    receive: ReceiveCallbacks


def build_webhooks(ports: WebhookPorts, store: Store, engine: Engine, clock: Clock, ids: Ids) -> Webhooks:
    """The use cases over these parts."""
    prove = ProveCallbacks(store, ports.rows, ports.secrets, clock)
    return Webhooks(
        subscriptions=ManageWebhooks(store, ports.secrets, ports.check_url, clock, ids),
        deliveries=ManageDeliveries(store, ports.rows),
        receive=ReceiveCallbacks(engine, ports.rows, prove, ports.telemetry),
    )
