"""What the door offers."""

from __future__ import annotations

from typing import Any

from interlock.core.principal import Scope
from interlock.doors.http.models.budgets import (
    BudgetBody,
    BudgetList,
    BudgetObject,
    RemovedBudget,
    list_budgets,
    remove_budget,
    set_budget,
)
from interlock.doors.http.models.catalogue import ModelList, ModelObject, list_models, show_model
from interlock.doors.http.models.chat import ChatBody, EmbeddingsBody, complete_chat, embed
from interlock.doors.http.models.door import MODELS
from interlock.doors.http.models.responses import ResponsesBody, respond
from interlock.doors.http.plumbing.operation import Handler, Operation, Policy
from interlock.doors.http.plumbing.relaying import CACHE

_FAILURES = (400, 403, 404, 409, 422, 429, 502, 503)


def _operation(
    method: str, path: str, summary: str, handler: Handler, scope: Scope = Scope.MODELS_USE, **rest: Any
) -> Operation:
    return Operation(
        method=method,
        path=path,
        door=MODELS,
        summary=summary,
        handler=handler,
        policy=Policy.KEY,
        scope=scope,
        **rest,
    )


OPERATIONS = (
    _operation(
        "POST",
        "/chat/completions",
        "Answer a chat",
        complete_chat,
        body=ChatBody,
        answer=Any,
        streamed_as="text/event-stream",
        failures=_FAILURES,
        headers=(CACHE,),
        is_keyed=True,
    ),
    _operation(
        "POST",
        "/embeddings",
        "Embed texts",
        embed,
        body=EmbeddingsBody,
        answer=Any,
        failures=_FAILURES,
        headers=(CACHE,),
        is_keyed=True,
    ),
    _operation(
        "POST",
        "/responses",
        "Answer in one piece",
        respond,
        body=ResponsesBody,
        answer=Any,
        streamed_as="text/event-stream",
        failures=_FAILURES,
        headers=(CACHE,),
        is_keyed=True,
    ),
    _operation("GET", "/models", "List the models", list_models, answer=ModelList),
    _operation("GET", "/models/{model}", "Show a model", show_model, answer=ModelObject),
    _operation("GET", "/budgets", "List the budgets", list_budgets, Scope.ADMIN, answer=BudgetList),
    _operation(
        "PUT",
        "/budgets/{holder}",
        "Set a budget",
        set_budget,
        Scope.ADMIN,
        body=BudgetBody,
        answer=BudgetObject,
        failures=(400, 404),
    ),
    _operation(
        "DELETE",
        "/budgets/{holder}",
        "Remove a budget",
        remove_budget,
        Scope.ADMIN,
        answer=RemovedBudget,
        failures=(404,),
    ),
)
