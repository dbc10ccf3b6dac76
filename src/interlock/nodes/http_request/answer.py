"""What came back, as JSON: texts are cut and cleaned so that any answer can be stored."""

from __future__ import annotations

from email.message import Message
from typing import Any

from interlock.kit import strict_json
from interlock.ports.egress import EgressResponse

_SHOWN = 2000  # characters of a refused call's body that go into its error
_MAX_KEYS = 100_000
_PASSING = frozenset((408, 429))


def is_passing(status: int) -> bool:
    """Whether a refusal may be gone at the next attempt."""
    return status in _PASSING or status >= 500


def read_answer(answer: EgressResponse) -> dict[str, Any]:
    """The node's output. ``json`` is there only for a whole answer that says it is JSON and is."""
    content_type = _content_type(answer)
    output: dict[str, Any] = {
        "status_code": answer.status,
        "headers": {name: _clean(value) for name, value in answer.headers.items()},
        "body": _decode(answer.body, content_type.get_content_charset()),
    }
    if answer.truncated:
        output["truncated"] = True
    elif _is_json(content_type.get_content_type()):
        _add_json(output, answer.body)
    return output


def describe_failure(method: str, url: str, output: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """Message and details of a refused call. The query of the URL may hold secrets, so it is not repeated."""
    place = url.partition("?")[0][:200]
    message = f"{method} {place} answered {output['status_code']}"
    return message, {"status_code": output["status_code"], "body": output["body"][:_SHOWN]}


def _content_type(answer: EgressResponse) -> Message:
    header = Message()
    header["Content-Type"] = _clean(answer.headers.get("content-type", "text/plain"))
    return header


def _is_json(media_type: str) -> bool:
    return media_type in ("application/json", "text/json") or media_type.endswith("+json")


def _add_json(output: dict[str, Any], body: bytes) -> None:
    try:
        output["json"] = strict_json.decode(body, max_keys=_MAX_KEYS)
    except strict_json.StrictJsonError:
        return  # the body is there as text; whoever wants JSON finds none


def _decode(body: bytes, charset: str | None) -> str:
    try:
        text = body.decode(charset or "utf-8", "replace")
    except (LookupError, ValueError):  # a charset nobody knows
        text = body.decode("utf-8", "replace")
    return _clean(text)


def _clean(text: str) -> str:
    """Without NUL and halves of surrogate pairs, which the house's JSON does not have."""
    return text.replace("\0", "\ufffd").encode("utf-16", "surrogatepass").decode("utf-16", "replace")
