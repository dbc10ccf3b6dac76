"""Models, their prices and budgets from the command line; and what a session was called and wrote."""

from __future__ import annotations

import pytest

from cli_house import Interlock, new_tenant
from interlock.kit.ids import RandomIds
from served import RunningServer


@pytest.fixture
def tenant_id(server: RunningServer) -> str:
    """A tenant that nothing else uses."""
    return new_tenant(server, f"cli-{RandomIds().new()}")


def test_models_are_listed_with_their_prices(interlock: Interlock) -> None:
    listed = interlock("models", "list")
    assert listed.code == 0, listed.err
    assert listed.out.splitlines()[0].split() == ["Model", "Input", "USD/M", "Output", "USD/M", "Provider"]
    assert ["scripted", "0", "0", "scripted"] in [line.split() for line in listed.out.splitlines()]
    found = interlock("models", "list", "--json").json
    assert {"name": "scripted", "provider": "scripted", "input_usd": 0.0, "output_usd": 0.0} in found["models"]


def test_the_price_of_a_model_that_no_provider_names_is_told_too(interlock: Interlock) -> None:
    told = interlock("models", "price", "qwen-max")
    assert told.out == ("qwen-max is served by scripted.\nA million tokens of input cost 1.6 USD, of output 6.4 USD.\n")
    assert interlock("models", "price", "org/own", "--json").json["name"] == "org/own"


def test_a_budget_is_set_listed_and_removed(interlock: Interlock, tenant_id: str) -> None:
    own = ("--tenant", tenant_id)
    assert "There are no budgets" in interlock("budgets", "list", *own).out
    key = interlock("keys", "create", "ci", "--scope", "models:use", *own, "--json").json
    told = interlock("budgets", "set", key["public_id"], "2.5", *own)
    assert told.out == f"Of key {key['public_id']}: 2.5 USD altogether, 0 USD of them are spent.\n"
    assert interlock("budgets", "set", "tenant", "50", *own, "--json").json["cap_usd"] == 50
    listed = [line.split() for line in interlock("budgets", "list", *own).out.splitlines()]
    assert listed[1:] == [["tenant", "50", "0", "0", "50"], ["key", key["public_id"], "2.5", "0", "0", "2.5"]]
    assert interlock("budgets", "remove", key["public_id"], *own).code == 0
    left = interlock("budgets", "list", *own, "--json").json
    assert [one["holder"] for one in left["budgets"]] == ["tenant"]


def test_a_budget_of_nobody_is_refused_with_a_way_on(interlock: Interlock, tenant_id: str) -> None:
    for command in (("set", "nobody", "1"), ("remove", "nobody"), ("remove", "tenant")):
        ended = interlock("budgets", *command, "--tenant", tenant_id)
        assert ended.code == 1
        assert "interlock approvals" not in ended.err
        assert "interlock keys list" in ended.err or "interlock budgets list" in ended.err


def test_a_session_is_called_as_wanted_and_its_blackboard_is_read(interlock: Interlock) -> None:
    session = f"order-{RandomIds().new()}"
    started = interlock("sessions", "start", "--node", "echo", "--params", '{"input": "hi"}', "--session-id", session)
    assert started.code == 0, started.err
    assert session in started.out
    board = interlock("sessions", "blackboard", session)
    assert "_session_state: completed" in board.out
    assert interlock("sessions", "blackboard", session, "--json").json["state"]["_session_state"] == "completed"
    assert interlock("sessions", "blackboard", session, "_params").out == '{"input":"hi"}\n'
    assert interlock("sessions", "blackboard", "nothing-there").out == "There is nothing on it.\n"


def test_what_is_not_there_or_taken_is_answered_with_where_to_look(interlock: Interlock) -> None:
    unknown = str(RandomIds().new())
    steps = {
        ("webhooks", "deliveries", unknown): "`interlock webhooks list`",
        ("webhooks", "redeliver", unknown): "`interlock webhooks list`",
        ("sessions", "state", "not-there"): "`interlock list`",
        ("nodes", "register", "echo", "https://example.org/x"): "`interlock nodes list`",
    }
    for command, step in steps.items():
        ended = interlock(*command)
        assert ended.code == 1
        assert step in ended.err
        assert "interlock approvals" not in ended.err
        assert "interlock show" not in ended.err
