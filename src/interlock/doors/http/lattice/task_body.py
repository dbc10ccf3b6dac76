"""What a task does, as its client writes it."""

from __future__ import annotations

import base64
import binascii
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from interlock.core.draft import Batching, Retrying, TaskOutput, read_resources
from interlock.core.errors import invalid
from interlock.core.resources import Resources
from interlock.services.drafts.tasks import Given, TaskWish

MAX_BATCH = 256
MAX_BATCH_SECONDS = 5.0


class InputParam(msgspec.Struct, kw_only=True):
    """One argument: a value of the author's, or what another task gives (``<task_id>.output.<key>``)."""

    key: Annotated[str, Meta(min_length=1, max_length=200)]
    input_schema: Literal["from_user", "from_task"]
    data_type: str | None = None
    value: Any = None


class OutputParam(msgspec.Struct, kw_only=True):
    key: Annotated[str, Meta(max_length=200)]
    data_type: str | None = None


class TaskInput(msgspec.Struct, kw_only=True):
    input_params: dict[str, InputParam] = {}


class TaskOutputs(msgspec.Struct, kw_only=True):
    output_params: dict[str, OutputParam] = {}


class BatchConfig(msgspec.Struct, kw_only=True):
    """Sizes are cut to 1 to 256, times to 0 to 5 seconds."""

    enabled: bool = False
    batch_size: int | None = None
    batch_timeout: float | None = None


class RetryBody(msgspec.Struct, kw_only=True):
    max_attempts: Annotated[int, Meta(ge=1, le=10)] = 1
    backoff_seconds: Annotated[float, Meta(ge=0, le=3_600)] = 1.0
    max_backoff_seconds: Annotated[float, Meta(ge=0, le=86_400)] = 60.0


class CodeBody(msgspec.Struct, kw_only=True):
    """A pickle (``serialized_code``, or ``code_ser``) wins over the text of a module."""

    workflow_id: Annotated[str, Meta(max_length=200)]
    serialized_code: str | None = None
    code_ser: str | None = None
    resources: dict[str, Any] | None = None
    task_name: Annotated[str, Meta(max_length=200)] | None = None


class SaveBody(CodeBody, kw_only=True):
    """What a task does; it replaces everything that was saved before. ``timeout_seconds`` is for each attempt."""

    task_id: Annotated[str, Meta(max_length=200)]
    task_input: TaskInput | None = None
    task_output: TaskOutputs | None = None
    code_str: str | None = None
    batch_config: BatchConfig | None = None
    timeout_seconds: Annotated[float, Meta(gt=0, le=2_592_000)] = 3_600.0
    retry: RetryBody | None = None


def wish_of(body: SaveBody) -> TaskWish:
    """What is to be saved. Raises INVALID and RULE for what cannot be."""
    pickle = pickle_of(body)
    if pickle is None and not body.code_str:
        raise invalid("WORKFLOW_INVALID", "Either code_str or serialized_code is required")
    told = body.retry or RetryBody()
    return TaskWish(
        form="source" if pickle is None else "pickle",
        content=(body.code_str or "").encode() if pickle is None else pickle,
        inputs=tuple(map(_given, (body.task_input or TaskInput()).input_params.values())),
        outputs=tuple(
            TaskOutput(key=found.key, data_type=found.data_type or "")
            for found in (body.task_output or TaskOutputs()).output_params.values()
        ),
        name=body.task_name or None,
        resources=resources_of(body),
        batching=_batching(body.batch_config),
        timeout=body.timeout_seconds,
        retry=Retrying(
            max_attempts=told.max_attempts, backoff=told.backoff_seconds, max_backoff=told.max_backoff_seconds
        ),
    )


def pickle_of(body: CodeBody) -> bytes | None:
    """The pickled code, by either of its names. Raises INVALID for what is no base64."""
    told = body.serialized_code or body.code_ser
    return None if not told else read_base64("serialized_code", told)


def resources_of(body: CodeBody) -> Resources:
    """What the task needs. Raises RULE."""
    return read_resources(body.resources or {})


def read_base64(name: str, text: str) -> bytes:
    """The bytes a field holds. Raises INVALID."""
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise invalid("WORKFLOW_INVALID", f"{name} is not valid base64", field=name) from error


def _given(param: InputParam) -> Given:
    return Given(param.key, param.value, param.input_schema == "from_task", param.data_type or "")


def _batching(told: BatchConfig | None) -> Batching | None:
    if told is None or not told.enabled:
        return None
    plain = Batching()
    size = plain.size if told.batch_size is None else told.batch_size
    timeout = plain.timeout if told.batch_timeout is None else told.batch_timeout
    return Batching(size=min(max(size, 1), MAX_BATCH), timeout=min(max(timeout, 0.0), MAX_BATCH_SECONDS))
