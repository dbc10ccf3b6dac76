"""Makes new data out of old: a mapping that the engine has rendered, or one value picked out of a source."""

from __future__ import annotations

from typing import Any

from interlock.core.node_type import NodeType
from interlock.nodes.schema import anything, parameters, text
from interlock.nodes.transform.pick import pick
from interlock.ports.node import Attempt, Done, Services

_OUTPUT_KEY = "transform_result"
_ARTIFACT_FORM = frozenset({"source_artifact", "template"})


class Transform:
    """Satisfies ``ports/node.Node``. Plain and short, because it is in the inner loop of most workflows."""

    type = NodeType(
        name="transform",
        title="Transform",
        description=(
            "With `mapping`, gives it as it is after its expressions were evaluated. With `source`, gives "
            '`{"extracted": value}` with the value at `extract_path`, and fails with `SOURCE_NOT_FOUND` when there '
            "is none. `source_artifact` is such a source by its key on the blackboard, and `template` a text that is "
            "given in place of what was picked; both are also written to the blackboard, as `transform_result` unless "
            "`output_key` says otherwise."
        ),
        category="data",
        schema=parameters(
            {
                "mapping": anything("The output: any JSON with `{{ expressions }}` in its texts."),
                "source": anything("What to pick from, usually one expression such as `{{ variables.order }}`."),
                "source_artifact": text("The blackboard key of what to pick from."),
                "template": text("The text that is given as `extracted`, with `{{ key.path }}` of the blackboard."),
                "extract_path": text("Where in the source: `items[0].name`, `$.items[0].name` or `items.0.name`."),
                "output_key": text("The blackboard key that also gets the mapping, or the value picked."),
            },
            anyOf=[{"required": [name]} for name in ("mapping", "source", "source_artifact", "template")],
        ),
        examples=(
            {"parameters": {"mapping": {"total": "{{ $json.price * $json.count }}"}}},
            {
                "parameters": {"source": {"items": [{"name": "pen"}]}, "extract_path": "$.items[0].name"},
                "output": {"extracted": "pen"},
            },
        ),
    )

    def run(self, attempt: Attempt, services: Services) -> Done:
        told = attempt.parameters
        if "mapping" in told:
            kept = output = told["mapping"]
        else:
            kept = _extracted(attempt)
            output = {"extracted": kept}
        key = told.get("output_key", _OUTPUT_KEY if told.keys() & _ARTIFACT_FORM else None)
        return Done(output=output) if key is None else Done(output=output, blackboard={str(key): kept})


def _extracted(attempt: Attempt) -> Any:
    """What is picked from the source; with a template that text, if the source is there."""
    told = attempt.parameters
    if "source_artifact" in told:
        key = str(told["source_artifact"])
        picked = pick(attempt.blackboard.get(key), told.get("extract_path"), f"The key {key[:64]!r} of the blackboard")
    elif "source" in told:
        picked = pick(told["source"], told.get("extract_path"), "The value of `source`")
    elif "template" not in told:
        picked = pick(None, None, "A `source` or `source_artifact`")
    else:
        picked = None
    return told.get("template", picked)


NODE = Transform()
