"""Makes new data out of old: a mapping that the engine has rendered, or one value picked out of a source."""

from __future__ import annotations

from interlock.core.node_type import NodeType
from interlock.nodes.schema import anything, parameters, text
from interlock.nodes.transform.pick import pick
from interlock.ports.node import Attempt, Done, Services


class Transform:
    """Satisfies ``ports/node.Node``. Plain and short, because it is in the inner loop of most workflows."""

    type = NodeType(
        name="transform",
        title="Transform",
        description=(
            "With `mapping`, gives it as it is after its expressions were evaluated. With `source`, gives "
            '`{"extracted": value}` with the value at `extract_path`, and fails with `SOURCE_NOT_FOUND` when there '
            "is none."
        ),
        category="data",
        schema=parameters(
            {
                "mapping": anything("The output: any JSON with `{{ expressions }}` in its texts."),
                "source": anything("What to pick from, usually one expression such as `{{ variables.order }}`."),
                "extract_path": text("Where in the source: `items[0].name`, `$.items[0].name` or `items.0.name`."),
                "output_key": text("The blackboard key that also gets the mapping, or the value picked."),
            },
            anyOf=[{"required": ["mapping"]}, {"required": ["source"]}],
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
        parameters = attempt.parameters
        if "mapping" in parameters:
            kept = output = parameters["mapping"]
        else:
            kept = pick(parameters.get("source"), parameters.get("extract_path"))
            output = {"extracted": kept}
        key = parameters.get("output_key")
        return Done(output=output) if key is None else Done(output=output, blackboard={str(key): kept})


NODE = Transform()
