"""A function that a user has sent. What it does stands in ``inside``, which only sandboxes load."""

from __future__ import annotations

from interlock.core.node_type import NodeType
from interlock.nodes.schema import anything, choice, parameters, text
from interlock.ports.node import Attempt, Done, NodeFailed, Services

_DIGEST = r"^[0-9a-f]{64}$"
TYPE = NodeType(
    name="code",
    title="Code of a user",
    description=(
        "Calls a function that a user has sent, in the sandbox of its tenant. It gets one dict and gives a dict; "
        'another JSON value becomes `{"result": value}`, numpy\'s scalars and arrays become numbers and lists '
        "(`RESULT_NOT_JSON` otherwise). Bytes, tables of pyarrow and arrays from 1 MiB on become "
        '`{"$binary": …}`, and the next function gets them as they were. '
        "It may be async. An exception fails the attempt with the name of its type as "
        "code, and is retryable. Of a text, the function is the one named by `function`, else the last one at the top "
        "level. With `args` or `kwargs` it is called with these, and what it gives stands under `result` as it is."
    ),
    category="code",
    place="sandbox",
    schema=parameters(
        {
            "code": text("The digest under which the code is kept.", pattern=_DIGEST),
            "form": choice("The text of a module, or what cloudpickle wrote.", "source", "pickle", default="source"),
            "function": text("The name of the function in the text.", default=""),
            "arguments": anything("The dict that the function gets."),
            "args": text("The digest of a pickled tuple.", pattern=_DIGEST),
            "kwargs": text("The digest of a pickled dict.", pattern=_DIGEST),
        },
        required=("code",),
    ),
    default_timeout=3600.0,
    examples=({"parameters": {"code": "0" * 64, "function": "score", "arguments": {"order": "{{ $json.order }}"}}},),
)


class Code:
    """Satisfies ``ports/node.Node`` where nothing runs: no code of a user ever enters a process of the server."""

    type = TYPE

    def run(self, attempt: Attempt, services: Services) -> Done:
        raise NodeFailed("SANDBOX_ONLY", "Code of users runs in the sandbox and nowhere else.")


NODE = Code()
