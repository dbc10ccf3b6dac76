"""Vectors of texts."""

from __future__ import annotations

from typing import Any

from interlock.core.node_type import NodeType
from interlock.nodes.schema import integer, listing, parameters, text
from interlock.ports.node import Attempt, Done, NodeFailed, Services


class LlmEmbed:
    """Satisfies ``ports/node.Node``."""

    type = NodeType(
        name="llm_embed",
        title="Embed texts",
        description=(
            "Asks a model of the gateway for the vectors of texts and gives `{vectors, dim, model, usage}`, in the "
            "order of the texts. Recorded and paid like `llm_chat`."
        ),
        category="models",
        schema=parameters(
            {
                "texts": listing("Texts to embed.", {"type": "string"}, minItems=1, maxItems=1000),
                "model": text("Name of the model.", default="text-embedding-v4"),
                "dimensions": integer("Length of the vectors, where the model has several.", minimum=1),
            },
            required=("texts",),
        ),
        default_timeout=330.0,
        examples=({"parameters": {"texts": ["one", "two"], "dimensions": 2}},),
    )

    async def run(self, attempt: Attempt, services: Services) -> Done:
        return Done(output=_output(await services.model_call("embeddings", _body(attempt.parameters))))


def _body(given: dict[str, Any]) -> dict[str, Any]:
    texts = given.get("texts")
    if not isinstance(texts, list) or not texts or not all(isinstance(one, str) for one in texts):
        raise NodeFailed("PARAMETER_INVALID", "texts must be a list of at least one text.")
    body = {"model": given.get("model") or "text-embedding-v4", "input": texts, "encoding_format": "float"}
    return body | ({"dimensions": given["dimensions"]} if given.get("dimensions") is not None else {})


def _output(answer: dict[str, Any]) -> dict[str, Any]:
    rows = sorted(answer.get("data") or (), key=lambda row: row["index"])
    vectors = [row["embedding"] for row in rows]
    return {
        "vectors": vectors,
        "dim": len(vectors[0]) if vectors else 0,
        "model": answer.get("model"),
        "usage": {"input_tokens": (answer.get("usage") or {}).get("prompt_tokens", 0)},
    }


NODE = LlmEmbed()
