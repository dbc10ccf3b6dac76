"""What is sent of functions and graphs, and what is refused before anything is sent."""

from __future__ import annotations

import base64
import pickle
import sys
from typing import Any

import pytest

import interlock
from interlock.client import NotSendable
from interlock.client.packing import code_of
from interlock.client.tasks import mebibytes

RATE = 3


def plain(params: dict) -> dict:
    import math

    return {"root": math.sqrt(sum(n for n in params["numbers"] if (half := n / 2) or half is not None))}


def with_global(params: dict) -> dict:
    return {"y": params["x"] * RATE}


def with_annotation(params: interlock.Graph) -> dict:
    return {}


def decorate(function: Any) -> Any:
    return function


@decorate
@interlock.task
def decorated_twice(params: dict) -> dict:
    return {}


@interlock.task(
    cpu=2,
    memory="1GiB",
)
async def later(params: dict) -> dict:
    return {"ok": True}


def enclosing() -> Any:
    step = 5

    def inner(params: dict) -> dict:
        return {"y": params["x"] + step}

    return inner


def test_a_function_that_stands_alone_goes_as_its_source() -> None:
    assert set(code_of(plain)) == {"code_str"}
    namespace: dict[str, Any] = {}
    exec(code_of(plain)["code_str"], namespace)
    assert namespace["plain"]({"numbers": [4, 5]}) == {"root": 3.0}


def test_decorators_of_several_lines_do_not_travel() -> None:
    assert code_of(later.function)["code_str"].startswith("async def later(params: dict)")


@pytest.mark.parametrize(
    ("function", "why"),
    [
        (with_global, "uses RATE of its module"),
        (with_annotation, "uses interlock of its module"),
        (enclosing(), "uses step of the function around it"),
        (decorated_twice.function, "has other decorators than task"),
        (lambda params: {}, "it is not a def of its own"),
        (eval("lambda params: {}"), "its source is not known"),
        (len, "it is no plain function"),
    ],
)
def test_one_that_does_not_goes_as_a_pickle_or_not_at_all(
    monkeypatch: pytest.MonkeyPatch, function: Any, why: str
) -> None:
    assert set(code_of(function)) == {"serialized_code"}
    with pytest.raises(NotSendable, match=f"{why}.*send it as a pickle"):
        code_of(function, "source")
    monkeypatch.setitem(sys.modules, "cloudpickle", None)  # as if it were not installed
    with pytest.raises(NotSendable, match=f"{why}.*pip install cloudpickle"):
        code_of(function)


def test_a_pickle_needs_no_module_of_its_function() -> None:
    content = base64.b64decode(code_of(with_global, "pickle")["serialized_code"])
    assert __name__.encode() not in content.replace(b"__module__", b"").split(b"with_global")[0]
    assert pickle.loads(content)({"x": 2}) == {"y": 6}


@pytest.mark.parametrize(
    ("amount", "expected"),
    [
        (0, 0),
        (7, 7),
        ("512MiB", 512),
        ("1GiB", 1024),
        ("1.5 gb", 1536),
        ("2G", 2048),
        ("512", 512),
        ("1KiB", 1),
        ("0", 0),
    ],
)
def test_memory_is_read_in_mebibytes(amount: str | int, expected: int) -> None:
    assert mebibytes(amount) == expected


@pytest.mark.parametrize("amount", ["much", "-1", -1, "1PiB", True, 1.5, None])
def test_other_memory_is_refused(amount: Any) -> None:
    with pytest.raises(ValueError, match="memory is a text such as"):
        mebibytes(amount)


@pytest.mark.parametrize(
    ("wish", "why"),
    [
        ({"cpu": -1}, "cpu is a number from 0 on"),
        ({"gpu": True}, "gpu is a number from 0 on"),
        ({"gpu": float("nan")}, "gpu is a number from 0 on"),
        ({"cpu": float("inf")}, "cpu is a number from 0 on"),
        ({"timeout": 0}, "seconds above 0"),
        ({"retry": 11}, "1 to 10 times"),
        ({"memory": "lots"}, "memory is a text"),
    ],
)
def test_wishes_that_mean_nothing_are_refused(wish: dict[str, Any], why: str) -> None:
    with pytest.raises(ValueError, match=why):
        interlock.task(**wish)


def test_a_task_is_still_its_function() -> None:
    assert later.__name__ == "later"
    assert interlock.task(plain)({"numbers": [9]}) == {"root": 3.0}
    assert (later.needs.cpu, later.needs.memory) == (2, 1024)


def test_inputs_that_cannot_be_sent_are_refused_at_once() -> None:
    graph, other = interlock.Graph("mine"), interlock.Graph("other")
    node, foreign = graph.add(plain, numbers=[1]), other.add(plain, numbers=[1])
    for inputs, why in (
        ({"x": node}, r'say which of its outputs: node\["key"\]'),
        ({"x": foreign["root"]}, "belongs to graph 'other'"),
        ({"x": [node["root"]]}, "inside of a list or dict"),
        ({"x": {1, 2}}, "is not JSON"),
        ({"x": float("nan")}, "is not JSON"),
    ):
        with pytest.raises(NotSendable, match=why):
            graph.add(plain, **inputs)
    with pytest.raises(NotSendable, match="belongs to graph"):
        node.after(foreign)
    with pytest.raises(NotSendable, match="added before it"):
        node.after(graph.add(plain, numbers=[2]))
    assert len(graph.nodes) == 2


def test_what_is_no_function_is_no_task() -> None:
    with pytest.raises(NotSendable, match="is no function"):
        interlock.Graph().add("inc")
    with pytest.raises(TypeError, match="name the outputs"):
        list(interlock.Graph().add(plain, numbers=[]))
