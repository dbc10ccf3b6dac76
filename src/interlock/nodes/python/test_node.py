"""How functions are called. That only registered ones can be, and from where, is shown with real packages and
child processes in tests/conformance/test_executors.py."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from typing import Any
from uuid import UUID

import pytest

from interlock.core.effects import effect_key
from interlock.nodes.python.call import Context, call_function
from interlock.nodes.python.node import NODE
from interlock.nodes.testing import KeptServices, make_attempt, run_node
from interlock.ports.node import NodeFailed


def _call(function: Callable[..., Any], arguments: Any = None, services: KeptServices | None = None) -> Any:
    attempt = make_attempt(NODE, {})
    return asyncio.run(call_function(function, arguments, attempt, services or KeptServices()))


def _double(arguments: Any) -> Any:
    return {"doubled": arguments["n"] * 2}


async def _double_later(arguments: Any) -> Any:
    await asyncio.sleep(0)
    return _double(arguments)


@pytest.mark.parametrize("function", [_double, _double_later])
def test_a_function_gets_the_arguments_and_gives_the_result(function: Callable[..., Any]) -> None:
    assert _call(function, {"n": 21}) == {"doubled": 42}


def test_a_second_parameter_is_the_context() -> None:
    def work(arguments: Any, context: Context) -> Any:
        context.report(0.5, "half", {"n": 1})
        return [context.effect_key, context.attempt]

    services = KeptServices()
    assert _call(work, services=services) == [effect_key(UUID(int=1), "task"), 1]
    assert services.reports == [(0.5, "half", {"n": 1})]


def test_a_second_parameter_with_a_default_of_its_own_is_left_alone() -> None:
    def work(arguments: Any, retries: int = 3) -> int:
        return retries

    assert _call(work) == 3


def test_a_context_with_a_default_is_given() -> None:
    def work(arguments: Any, context: Context | None = None) -> bool:
        return context is not None

    assert _call(work) is True


def test_a_built_in_gets_the_arguments_only() -> None:
    assert _call(len, [1, 2, 3]) == 3


def test_an_exception_fails_with_its_type_as_code_and_is_retryable() -> None:
    def work(arguments: Any) -> Any:
        raise ConnectionError("the till is offline")

    with pytest.raises(NodeFailed) as caught:
        _call(work)
    assert (caught.value.code, caught.value.message) == ("ConnectionError", "the till is offline")
    assert caught.value.retryable
    assert caught.value.details["raised_at"].startswith("test_node.py:")
    assert caught.value.details["raised_at"].endswith("in work")


def test_leaving_the_program_is_an_exception_like_others() -> None:
    with pytest.raises(NodeFailed) as caught:
        _call(sys.exit, "enough")
    assert caught.value.code == "SystemExit"


def test_a_function_may_name_its_own_code() -> None:
    def work(arguments: Any) -> Any:
        raise NodeFailed("OUT_OF_STOCK", "none left")

    with pytest.raises(NodeFailed) as caught:
        _call(work)
    assert (caught.value.code, caught.value.retryable) == ("OUT_OF_STOCK", False)


@pytest.mark.parametrize(
    "result",
    [{1, 2}, b"bytes", object(), float("nan"), [float("inf")], {"a": {(1, 2): 3}}, "\0", "\ud800", {1: "a", "1": "b"}],
)
def test_a_result_that_is_no_json_is_refused(result: Any) -> None:
    with pytest.raises(NodeFailed) as caught:
        _call(lambda arguments: result)
    assert caught.value.code == "RESULT_NOT_JSON"
    assert not caught.value.retryable


def test_a_result_that_holds_itself_is_refused() -> None:
    endless: list[Any] = []
    endless.append(endless)
    with pytest.raises(NodeFailed) as caught:
        _call(lambda arguments: endless)
    assert caught.value.code == "RESULT_NOT_JSON"


@pytest.mark.parametrize(("result", "read"), [((1, (2,)), [1, [2]]), ({1: "a"}, {"1": "a"}), (2**70, 2**70)])
def test_a_result_is_given_as_it_will_be_read_back(result: Any, read: Any) -> None:
    assert _call(lambda arguments: result) == read


@pytest.mark.parametrize("name", ["os.system", "builtins:eval", "", None, 7, ["a"]])
def test_nothing_that_is_not_registered_can_be_called(name: Any) -> None:
    with pytest.raises(NodeFailed) as caught:
        run_node(NODE, {"function": name, "arguments": {}})
    assert caught.value.code == "FUNCTION_UNKNOWN"
    assert not caught.value.retryable
