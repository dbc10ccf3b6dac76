from __future__ import annotations

import pytest

from interlock.nodes.notification.node import NODE
from interlock.nodes.testing import KeptServices, run_node
from interlock.ports.node import Done, NodeFailed


def test_tells_whoever_watches_and_shows_the_message() -> None:
    services = KeptServices()
    outcome = run_node(NODE, {"message": "Done", "level": "success"}, services)
    assert isinstance(outcome, Done)
    assert services.reports == [(None, "Done", {"level": "success"})]
    assert outcome.output == {"message": "Done", "level": "success"}
    assert outcome.ui_schema == {
        "components": [{"type": "chat_message", "props": {"content": "Done", "level": "success"}}]
    }


def test_a_level_that_is_none_is_refused() -> None:
    with pytest.raises(NodeFailed) as failed:
        run_node(NODE, {"message": "Hm", "level": "fatal"})
    assert failed.value.code == "PARAMETER_INVALID"


def test_without_a_level_it_informs() -> None:
    outcome = run_node(NODE, {"message": "Hm"})
    assert isinstance(outcome, Done)
    assert outcome.output["level"] == "info"
