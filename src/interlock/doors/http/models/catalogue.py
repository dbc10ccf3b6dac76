"""``/v1/models``: what may be asked for."""

from __future__ import annotations

import msgspec

from interlock.core.errors import not_found
from interlock.doors.http.plumbing.operation import Call, Reply
from interlock.doors.http.plumbing.replies import JsonReply


class ModelObject(msgspec.Struct):
    """A model by its name here; ``owned_by`` is the provider that serves it."""

    id: str
    owned_by: str
    object: str = "model"
    created: int = 0


class ModelList(msgspec.Struct):
    data: list[ModelObject]
    object: str = "list"


async def list_models(call: Call[None, None]) -> Reply:
    """All models that the caller may use."""
    offered = call.services.models.relay.offered(call.principal)
    return JsonReply(ModelList([ModelObject(found.model, found.provider) for found in offered]))


async def show_model(call: Call[None, None]) -> Reply:
    """One model, also one that no provider names, if one takes any name."""
    wanted = call.path["model"]
    found = call.services.models.relay.find(call.principal, wanted)
    if not found:
        raise not_found("MODEL_NOT_FOUND", f"There is no model {wanted[:100]}", field="model")
    return JsonReply(ModelObject(found[0].model, found[0].provider))
