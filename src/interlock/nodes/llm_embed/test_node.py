from __future__ import annotations

import pytest

from interlock.nodes.llm_embed.node import NODE
from interlock.nodes.testing import KeptServices, run_node
from interlock.ports.node import Done, NodeFailed


def test_vectors_come_in_the_order_of_the_texts() -> None:
    rows = [{"index": 1, "embedding": [3.0, 4.0]}, {"index": 0, "embedding": [1.0, 2.0]}]
    services = KeptServices(answers=[{"data": rows, "model": "real", "usage": {"prompt_tokens": 2}}])
    outcome = run_node(NODE, {"texts": ["a", "b"], "dimensions": 2}, services)
    body = {"model": "text-embedding-v4", "input": ["a", "b"], "encoding_format": "float", "dimensions": 2}
    assert services.asked == [("embeddings", body)]
    output = {"vectors": [[1.0, 2.0], [3.0, 4.0]], "dim": 2, "model": "real", "usage": {"input_tokens": 2}}
    assert outcome == Done(output=output)


@pytest.mark.parametrize("texts", [[], None, ["a", 1]])
def test_what_is_no_list_of_texts_is_refused(texts: object) -> None:
    with pytest.raises(NodeFailed, match="texts"):
        run_node(NODE, {"texts": texts})
