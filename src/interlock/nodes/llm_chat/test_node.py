from __future__ import annotations

import pytest

from interlock.nodes.llm_chat.node import NODE
from interlock.nodes.testing import KeptServices, run_node
from interlock.ports.node import Done, NodeFailed

ANSWER = {
    "model": "real-name",
    "choices": [{"message": {"role": "assistant", "content": "4"}, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 7, "completion_tokens": 1},
}


def test_a_prompt_is_asked_after_what_the_model_is_told_first() -> None:
    services = KeptServices(answers=[ANSWER])
    given = {"prompt": "2 + 2?", "system": "Be brief", "model": "m", "max_tokens": 5, "options": {"top_k": 3}}
    outcome = run_node(NODE, given, services)
    messages = [{"role": "system", "content": "Be brief"}, {"role": "user", "content": "2 + 2?"}]
    assert services.asked == [("chat", {"top_k": 3, "model": "m", "messages": messages, "max_tokens": 5})]
    usage = {"input_tokens": 7, "output_tokens": 1}
    output = {"content": "4", "model": "real-name", "usage": usage, "finish_reason": "stop"}
    assert outcome == Done(output=output)


def test_tool_calls_are_handed_on() -> None:
    calls = [{"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}]
    answer = {**ANSWER, "choices": [{"message": {"content": None, "tool_calls": calls}, "finish_reason": "tool_calls"}]}
    outcome = run_node(NODE, {"prompt": "x"}, KeptServices(answers=[answer]))
    assert isinstance(outcome, Done)
    assert (outcome.output["content"], outcome.output["tool_calls"]) == ("", calls)


def test_nothing_to_ask_is_refused() -> None:
    with pytest.raises(NodeFailed, match="give a prompt or messages"):
        run_node(NODE, {"model": "m"})


@pytest.mark.parametrize(
    ("name", "value"),
    [*((name, value) for name in ("options", "messages") for value in ("top_k", [1], 3)), ("messages", {"role": "x"})],
)
def test_a_value_of_another_type_is_said_to_be_wrong(name: str, value: object) -> None:
    services = KeptServices(answers=[ANSWER])
    with pytest.raises(NodeFailed, match=f"The parameter {name} must be") as failed:
        run_node(NODE, {"prompt": "x", name: value}, services)
    assert failed.value.code == "PARAMETER_INVALID"
    assert services.asked == []
