"""What this door calls node types: TYPE and SUBTYPE, and the node type and parameters they stand for here."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

Parameters = dict[str, Any]

FAMILY: dict[str, frozenset[str]] = {
    "TRIGGER": frozenset({"MANUAL", "WEBHOOK", "CRON", "CHAT", "FORM", "EMAIL", "CALENDAR", "GITHUB", "SLACK"}),
    "AI_AGENT": frozenset({"OPENAI_CHATGPT", "ANTHROPIC_CLAUDE", "GOOGLE_GEMINI"}),
    "ACTION": frozenset(
        {
            "HTTP_REQUEST",
            "WEBHOOK_CALL",
            "RUN_CODE",
            "EXECUTE_SCRIPT",
            "DATA_TRANSFORMATION",
            "DATA_VALIDATION",
            "DATA_FORMATTING",
            "FILE_OPERATION",
            "FILE_UPLOAD",
            "FILE_DOWNLOAD",
            "WEB_SEARCH",
            "DATABASE_QUERY",
            "DATABASE_OPERATION",
            "PARSE_IMAGE",
        }
    ),
    "EXTERNAL_ACTION": frozenset({"API_CALL", "WEBHOOK", "NOTIFICATION", "SLACK", "EMAIL", "GITHUB", "NOTION"}),
    "FLOW": frozenset(
        {
            "IF",
            "SWITCH",
            "FILTER",
            "SORT",
            "MERGE",
            "SPLIT",
            "LOOP",
            "FOR_EACH",
            "WHILE",
            "WAIT",
            "DELAY",
            "TIMEOUT",
        }
    ),
    "HUMAN_IN_THE_LOOP": frozenset({"IN_APP_APPROVAL", "FORM_SUBMISSION", "MANUAL_REVIEW", "SLACK_INTERACTION"}),
    "TOOL": frozenset({"HTTP_CLIENT", "CODE_TOOL", "FILE_PROCESSOR"}),
    "MEMORY": frozenset({"CONVERSATION_BUFFER", "KEY_VALUE_STORE", "VECTOR_DATABASE"}),
}
"""The types of this vocabulary with subtypes that clients know; more subtypes exist than are listed."""

_SPELLINGS = {
    ("ACTION", "SEND_HTTP_REQUEST"): "HTTP_REQUEST",
    ("HUMAN_IN_THE_LOOP", "HUMAN_APP"): "IN_APP_APPROVAL",
    ("HUMAN_IN_THE_LOOP", "APP"): "IN_APP_APPROVAL",
}
_PLAIN_PATH = re.compile(r"(?:\$\.)?[A-Za-z_][\w.\[\]]*")
_ROOTS = frozenset({"data", "context", "variables", "output"})
MAX_COUNTED = 1_000
"""Iterations of a loop over numbers that does not begin at 0, since each number becomes an item."""


class WordError(ValueError):
    """Parameters that have no meaning here; the text says what to do."""


class NodeWord(NamedTuple):
    """The node type behind a TYPE.SUBTYPE, and how its parameters are said there."""

    node_type: str
    translate: Callable[[Parameters], Parameters]


def normal_type(text: str) -> str:
    """A type without ``_NODE``, in capitals."""
    return text.strip().upper().removesuffix("_NODE")


def normal_subtype(node_type: str, text: str) -> str:
    """A subtype without its type's prefix, in capitals and in today's spelling."""
    subtype = text.strip().upper()
    subtype = _SPELLINGS.get((node_type, subtype), subtype).removeprefix(f"{node_type}_")
    return _SPELLINGS.get((node_type, subtype), subtype)


def _rename(names: Mapping[str, str], dropped: frozenset[str] = frozenset()) -> Callable[[Parameters], Parameters]:
    """The same parameters under our names; ``dropped`` ones mean nothing here. Ours win over their aliases."""

    def translate(parameters: Parameters) -> Parameters:
        renamed = {names[key]: value for key, value in parameters.items() if key in names}
        kept = {key: value for key, value in parameters.items() if key not in names and key not in dropped}
        return renamed | kept

    return translate


def _nothing(parameters: Parameters) -> Parameters:
    return {}


_HTTP = _rename(
    {"endpoint": "url", "webhook_url": "url", "data": "body", "payload": "body", "timeout_seconds": "timeout"}
)


def _http(parameters: Parameters) -> Parameters:
    call = _HTTP(parameters)
    method = call.get("method")
    return call | {"method": method.upper()} if isinstance(method, str) and "{{" not in method else call


_IF = _rename({"condition": "condition_expression"})


def _switch(parameters: Parameters) -> Parameters:
    """``cases`` are a list of ports with conditions, or an object of conditions by port, or values to compare with."""
    rest = dict(parameters)
    cases = rest.pop("cases", None)
    subject = rest.pop("switch_expression", rest.pop("expression", None))
    if isinstance(cases, dict):
        cases = [{"port": port, "when": when} for port, when in cases.items()]
    if not isinstance(cases, list):
        return parameters
    return {"cases": [_case(case, subject) for case in cases], **rest}


def _case(case: Any, subject: Any) -> Any:
    if not isinstance(case, dict):
        case = {"value": case}
    port = next((case[key] for key in ("port", "name", "output", "value") if key in case), None)
    when = next((case[key] for key in ("when", "condition", "condition_expression") if key in case), None)
    if when is None and "value" in case and isinstance(subject, str):
        when = f"({subject}) == {json.dumps(case['value'])}"
    return {"port": port if isinstance(port, str) else str(port), "when": when}


def _wait(parameters: Parameters) -> Parameters:
    """A timer or an event; a wait in our own words is taken as it is."""
    condition = parameters.get("wait_condition")
    if condition is None:
        return parameters
    told = {**parameters, **(condition if isinstance(condition, dict) else {"type": condition})}
    kind = str(told.get("type", "")).lower()
    if kind == "timer":
        return {"seconds": _first(told, "seconds", "duration_seconds", "timeout_seconds")}
    if kind == "event":
        name = _first(told, "event", "event_name", "name", "signal")
        return {"signal": name, "timeout_seconds": told.get("timeout_seconds", 300)}
    raise WordError("wait_condition must be of type timer or event here; a wait for a webhook is not available yet")


def _delay(parameters: Parameters) -> Parameters:
    return {"seconds": _first(parameters, "duration_seconds", "delay_seconds", "seconds")}


def _first(parameters: Parameters, *names: str) -> Any:
    for name in names:
        if name in parameters:
            return parameters[name]
    raise WordError(f"{names[0]} is missing")


def _loop(parameters: Parameters) -> Parameters:
    kind = parameters.get("loop_type")
    if kind == "for_range":
        return _range(parameters)
    if kind == "for_each":
        return _each(parameters)
    if kind == "while":
        return _while(parameters)
    if kind is None:
        return parameters
    raise WordError("loop_type must be for_range, for_each or while")


def _range(parameters: Parameters) -> Parameters:
    start, end = parameters.get("start_value", 0), parameters.get("end_value")
    if start == 0 and isinstance(end, int | str):
        return {"times": end}
    if isinstance(start, int) and isinstance(end, int) and 0 <= end - start <= MAX_COUNTED:
        return {"items": list(range(start, end))}
    raise WordError(f"start_value and end_value must be whole numbers at most {MAX_COUNTED} apart")


def _each(parameters: Parameters) -> Parameters:
    path = _first(parameters, "array_path", "items")
    if not isinstance(path, str) or "{{" in path:
        return {"items": path}
    if _PLAIN_PATH.fullmatch(path) and path.partition(".")[0] not in _ROOTS:
        path = f"$json.{path.removeprefix('$.')}"
    return {"items": f"{{{{ {path} }}}}"}


def _while(parameters: Parameters) -> Parameters:
    condition = _first(parameters, "loop_condition", "condition", "while")
    return {"while": condition, "max_iterations": parameters.get("max_iterations", 100)}


_APPROVAL = _rename(
    {
        "approval_options": "options",
        "approval_reason_required": "reason_required",
        "timeout_action": "on_timeout",
        "timeout_default_response": "default_response",
    },
    frozenset({"channel_config", "channel_type", "multiple_selection"}),
)


def _approval(interaction_type: str) -> Callable[[Parameters], Parameters]:
    def translate(parameters: Parameters) -> Parameters:
        return {"interaction_type": interaction_type, **_APPROVAL(parameters)}

    return translate


WORDS: dict[tuple[str, str], NodeWord] = {
    ("TRIGGER", "MANUAL"): NodeWord("trigger", _nothing),
    ("ACTION", "HTTP_REQUEST"): NodeWord("http_request", _http),
    ("ACTION", "WEBHOOK_CALL"): NodeWord("http_request", _http),
    ("ACTION", "DATA_TRANSFORMATION"): NodeWord("transform", dict),
    ("EXTERNAL_ACTION", "API_CALL"): NodeWord("http_request", _http),
    ("EXTERNAL_ACTION", "WEBHOOK"): NodeWord("http_request", _http),
    ("FLOW", "IF"): NodeWord("condition", _IF),
    ("FLOW", "SWITCH"): NodeWord("condition", _switch),
    ("FLOW", "WAIT"): NodeWord("wait", _wait),
    ("FLOW", "DELAY"): NodeWord("wait", _delay),
    ("FLOW", "LOOP"): NodeWord("loop", _loop),
    ("FLOW", "FOR_EACH"): NodeWord("loop", _each),
    ("FLOW", "WHILE"): NodeWord("loop", _while),
    ("HUMAN_IN_THE_LOOP", "IN_APP_APPROVAL"): NodeWord("approval", _approval("approval")),
    ("HUMAN_IN_THE_LOOP", "FORM_SUBMISSION"): NodeWord("approval", _approval("input")),
    ("HUMAN_IN_THE_LOOP", "MANUAL_REVIEW"): NodeWord("approval", _approval("review")),
    ("TOOL", "HTTP_CLIENT"): NodeWord("http_request", _http),
}
"""What means the same here. Whatever is missing is refused with a clear error."""

_OUT: dict[str, tuple[str, str]] = {}
for _words, _word in WORDS.items():
    _OUT.setdefault(_word.node_type, _words)
_OUT["map"] = ("FLOW", "FOR_EACH")
_INTERACTIONS = {"input": "FORM_SUBMISSION", "review": "MANUAL_REVIEW"}


def words_of(node_type: str, parameters: Mapping[str, Any]) -> tuple[str, str]:
    """TYPE and SUBTYPE of a node; a type without such words keeps its own name and no subtype."""
    if node_type == "condition" and "cases" in parameters:
        return ("FLOW", "SWITCH")
    if node_type == "wait" and "seconds" in parameters:
        return ("FLOW", "DELAY")
    if node_type == "loop" and "while" in parameters:
        return ("FLOW", "WHILE")
    if node_type == "approval":
        interaction = str(parameters.get("interaction_type"))
        return ("HUMAN_IN_THE_LOOP", _INTERACTIONS.get(interaction, "IN_APP_APPROVAL"))
    return _OUT.get(node_type, (node_type, ""))
