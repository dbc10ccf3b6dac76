"""The workflows that scenarios run: each step is one call of the sink with the step's effect key."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

Node = dict[str, Any]


def effect(sink: str, step: str, *, delay: float = 0.0, status: int = 200, **node: Any) -> Node:
    """A node that has one effect outside. ``delay`` is seconds between effect and answer, ``status`` the answer."""
    return {
        "id": step,
        "name": step,
        "type": "http_request",
        "parameters": {
            "method": "POST",
            "url": f"{sink}/effect/{{{{ $execution.id }}}}/{step}?delay={delay:g}&status={status}",
            "headers": {"X-Ref": "{{ $trigger.ref }}"},
            "body": {"step": step},
            "timeout": max(30, min(120, delay + 30)),
        },
        **node,
    }


def _joined(name: str, nodes: list[Node], connections: list[dict[str, str]], **settings: Any) -> dict[str, Any]:
    return {"name": name, "nodes": nodes, "connections": connections, "settings": settings}


def _line(nodes: list[Node]) -> list[dict[str, str]]:
    return [{"from_node": one["id"], "to_node": other["id"]} for one, other in pairwise(nodes)]


def chain(sink: str, steps: int, delay: float = 0.0) -> dict[str, Any]:
    """``steps`` effects, one after the other."""
    nodes = [effect(sink, f"s{number}", delay=delay) for number in range(1, steps + 1)]
    return _joined(f"chain of {steps}", nodes, _line(nodes))


def loop(sink: str, times: int, delay: float = 0.0) -> dict[str, Any]:
    """One effect for each of ``times`` iterations, one after the other."""
    body = effect(sink, "body", delay=delay)
    body["parameters"]["url"] = body["parameters"]["url"].replace("/body?", "/{{ $loop.index }}?")
    again = {"id": "again", "name": "again", "type": "loop", "parameters": {"times": times}}
    return _joined(
        f"loop of {times}", [again, body], [{"from_node": "again", "to_node": "body", "output_key": "iteration"}]
    )


def resting(sink: str, kind: str) -> dict[str, Any]:
    """An effect, then something that rests (``timer``, ``signal``, ``approval`` or ``retry``), then another effect."""
    rests: dict[str, Node] = {
        "timer": {"type": "wait", "parameters": {"seconds": 3600}},
        "signal": {"type": "wait", "parameters": {"signal": "go"}},
        "approval": {"type": "approval", "parameters": {"title": "May it go on?", "timeout_seconds": 3600}},
        "retry": effect(sink, "rest", status=503, retry={"max_attempts": 5, "backoff": 30.0, "jitter": False}),
    }
    middle = {"id": "rest", "name": "rest", **rests[kind]}
    nodes = [effect(sink, "before"), middle, effect(sink, "after")]
    connections = _line(nodes)
    if kind == "approval":
        connections[1]["output_key"] = "confirmed"
    return _joined(f"rests on a {kind}", nodes, connections)


def child(step: str, workflow: str) -> Node:
    """A node that starts ``workflow`` (id or name) and waits for its end; the child's reference names the node."""
    return {
        "id": step,
        "name": step,
        "type": "subworkflow",
        "parameters": {"workflow": workflow, "input": {"ref": f"{{{{ $trigger.ref }}}}.{step}"}},
    }


def _receipt(step: str) -> str:
    return f'{{{{ $node["{step}"].result.json.receipt }}}}'


def _result(step: str) -> str:
    return f'{{{{ $node["{step}"].result }}}}'


def leaf(sink: str, delay: float = 0.0) -> dict[str, Any]:
    """Two effects; gives their receipts. A child of ``middle`` and of ``family``."""
    nodes = [effect(sink, step, delay=delay) for step in ("c1", "c2")]
    return _joined("leaf", nodes, _line(nodes), output={"c1": _receipt("c1"), "c2": _receipt("c2")})


def middle(sink: str, delay: float = 0.0) -> dict[str, Any]:
    """An effect, then a child of its own, found by its name; gives the receipt and what the child gave."""
    nodes = [effect(sink, "m1", delay=delay), child("inner", "leaf")]
    return _joined("middle", nodes, _line(nodes), output={"m1": _receipt("m1"), "inner": _result("inner")})


def family(sink: str, leaf_id: str, middle_id: str, delay: float = 0.0) -> dict[str, Any]:
    """An effect, three children at once, another effect; gives what all of them gave.

    Two of the children are alike, so that they end together; the third has a child itself.
    """
    children = [child("left", leaf_id), child("twin", leaf_id), child("right", middle_id)]
    before, after = (effect(sink, step, delay=delay) for step in ("before", "after"))
    ways = [way for one in children for way in _line([before, one, after])]
    given = {node["id"]: _receipt(node["id"]) for node in (before, after)}
    given |= {node["id"]: _result(node["id"]) for node in children}
    return _joined("family", [before, *children, after], ways, output=given)


def parent(sink: str, child_id: str) -> dict[str, Any]:
    """An effect, a child, another effect."""
    nodes = [effect(sink, "before"), child("held", child_id), effect(sink, "after")]
    return _joined("parent", nodes, _line(nodes))


def paused(sink: str, seconds: float) -> dict[str, Any]:
    """An effect, a short rest on a timer, another effect."""
    nodes = [effect(sink, "before"), {"id": "rest", "name": "rest", "type": "wait", "parameters": {"seconds": seconds}}]
    nodes.append(effect(sink, "after"))
    return _joined(f"rests for {seconds:g} s", nodes, _line(nodes))


def expiring(sink: str, timeout: int) -> dict[str, Any]:
    """An effect, a question that nobody answers in ``timeout`` seconds, another effect."""
    question = {"title": "Is anybody there?", "timeout_seconds": timeout, "on_timeout": "continue"}
    nodes = [effect(sink, "before"), {"id": "rest", "name": "rest", "type": "approval", "parameters": question}]
    nodes.append(effect(sink, "after"))
    connections = _line(nodes)
    connections[1]["output_key"] = "timeout"
    return _joined(f"asks for {timeout} s", nodes, connections)


def race(sink: str, timeout: int) -> dict[str, Any]:
    """An approval with a deadline; each way out has an effect of its own."""
    question = {
        "id": "ask",
        "name": "ask",
        "type": "approval",
        "parameters": {"title": "Which comes first?", "timeout_seconds": timeout, "on_timeout": "continue"},
    }
    ways = ("confirmed", "rejected", "timeout")
    return _joined(
        "race",
        [question, *(effect(sink, way) for way in ways)],
        [{"from_node": "ask", "to_node": way, "output_key": way} for way in ways],
    )
