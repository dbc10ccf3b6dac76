"""Which settings of a Ray cluster can be used, and what stops the start."""

from __future__ import annotations

from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from conformance.executor_trial import KeptBlobs
from conformance.sandbox_house import NoCode
from interlock.backends.executor.ray.executor import RayExecutor
from interlock.backends.executor.ray.ground import keep_token
from interlock.backends.executor.ray.host import Tools
from interlock.backends.executor.sandbox import walls
from interlock.backends.executor.sandbox.walls import Walls
from interlock.bootstrap import ray
from interlock.bootstrap.ray import open_ray
from interlock.bootstrap.ray_head import has_own_head, own_address, refuse_no_token, token_file
from interlock.bootstrap.ray_host import open_places
from interlock.bootstrap.ray_node import join
from interlock.config import Settings, child_environment, driver_environment
from interlock.core.errors import InterlockError
from interlock.doors.cli.programs import JoinOptions
from interlock.kit.ids import RandomIds
from interlock.nodes.testing import ScriptedEgress
from interlock.ports.node import Attempt
from interlock.ports.task_log import Stream

BWRAP = Walls("bwrap", "as it should be", "/usr/bin/bwrap")


def settings(**given: Any) -> Settings:
    return Settings(_env_file=None, **{"data_dir": Path("/nowhere"), "executor": "ray", **given})


class Silence:
    """A log of tasks that nobody writes to."""

    def write(self, attempt: Attempt, stream: Stream, text: str) -> None:
        raise AssertionError("nothing runs here")

    def has_unsettled(self, attempt: Attempt) -> bool:
        return False


def opened(given: Settings, url: str = "postgresql://u:p@db:5432/one", around: Walls = BWRAP) -> dict[str, RayExecutor]:
    return open_ray(
        given,
        registry="interlock.nodes:load",
        version="1",
        serve_url=url,
        egress=ScriptedEgress([]),
        blobs=KeptBlobs(),
        code=NoCode(),
        walls=around,
        ids=RandomIds(),
        task_log=Silence(),
        stack=AsyncExitStack(),
    )


@pytest.fixture(autouse=True)
def _bare(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("RAY_ADDRESS", "RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"):
        monkeypatch.delenv(name, raising=False)


def test_without_the_setting_there_is_no_executor_on_ray() -> None:
    assert opened(settings(executor="local")) == opened(settings(executor="inline")) == {}


@pytest.mark.parametrize(
    ("given", "of_server", "without_bwrap"),
    [
        ({"local": True}, BWRAP, "unavailable"),
        ({"local": True}, Walls("subprocess", "no bwrap here either", is_weaker=True), "subprocess"),
        ({"local": True, "sandbox": "subprocess"}, Walls("subprocess", "asked for"), "subprocess"),
        ({"local": True, "sandbox": "bwrap"}, Walls(None, "asked for, and not there"), "unavailable"),
        ({"local": False, "code_execution": True}, BWRAP, "unavailable"),
    ],
)
async def test_no_node_has_weaker_walls_than_the_server_says_of_its_own(
    given: dict[str, Any], of_server: Walls, without_bwrap: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = opened(settings(**given), around=of_server)["ray"]._driving._plan.host
    monkeypatch.setattr(walls, "find_program", lambda: None)  # as on a node that has none
    egress, blobs = ScriptedEgress([]), KeptBlobs()
    executor: Any = open_places(Tools(egress, blobs, NoCode(), 4, {}, plan.given, Silence()))["sandbox"]
    assert executor.walls.name == without_bwrap


def test_nothing_starts_before_it_is_needed() -> None:
    executor = opened(settings())["ray"]
    assert (executor.name, executor.state, executor.waiting) == ("ray", "idle", 0)


@pytest.mark.parametrize("address", ["", "127.0.0.1:6379", "localhost:6379", "[::1]:6379"])
def test_a_cluster_of_this_machine_may_be_used(address: str) -> None:
    assert opened(settings(ray_address=address))


@pytest.mark.parametrize(
    "address", ["ray://h:10001", "auto", "local", "h", "h:port", "h:0", "u@h:1", "h:1/x", "h:70000"]
)
def test_an_address_is_a_host_and_a_port(address: str) -> None:
    with pytest.raises(ValidationError, match=r"HOST:PORT"):
        settings(ray_address=address)


def test_the_usual_name_of_the_address_is_understood(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:7000")
    assert settings().ray_address == "127.0.0.1:7000"


@pytest.mark.parametrize("name", ["RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH", "RAY_AUTH_MODE"])
def test_a_cluster_elsewhere_needs_a_token(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    far = settings(ray_address="10.0.0.5:6379")
    with pytest.raises(InterlockError) as refused:
        opened(far)
    assert refused.value.code == "SETTINGS_RAY_OPEN"
    monkeypatch.setenv(name, "token")
    assert opened(far)


def test_several_processes_share_one_cluster() -> None:
    with pytest.raises(InterlockError) as refused:
        opened(settings(share_port=True))
    assert refused.value.code == "SETTINGS_RAY_ADDRESS"
    assert opened(settings(share_port=True, ray_address="127.0.0.1:6379"))


def test_without_ray_the_start_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ray, "find_spec", lambda name: None)
    with pytest.raises(InterlockError) as refused:
        opened(settings())
    assert refused.value.code == "SETTINGS_RAY_MISSING"
    assert "interlock[ray]" in refused.value.details["next"]


def test_functions_do_not_see_how_to_reach_the_cluster(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_AUTH_TOKEN", "secret")
    monkeypatch.setenv("INTERLOCK_TOKEN", "secret")
    assert "RAY_AUTH_TOKEN" not in child_environment()
    assert driver_environment()["RAY_AUTH_TOKEN"] == "secret"
    assert "INTERLOCK_TOKEN" not in driver_environment()


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "::1"])
def test_a_head_of_ours_stays_on_this_machine_unless_it_is_told_otherwise(host: str) -> None:
    assert own_address(host) == "127.0.0.1"


def test_a_head_of_ours_has_an_address_that_others_can_use() -> None:
    assert own_address("10.0.0.5") == "10.0.0.5"
    with pytest.raises(InterlockError) as refused:
        own_address("no.such.host.invalid")
    assert refused.value.code == "SETTINGS_RAY_HOST"


def test_only_a_head_of_ours_has_a_token_of_ours(tmp_path: Path) -> None:
    assert has_own_head(settings(ray_head=True))
    assert not has_own_head(settings(ray_head=True, ray_address="127.0.0.1:6379"))
    assert not has_own_head(settings(ray_head=True, executor="local"))
    given = settings(data_dir=tmp_path)
    made = keep_token(tmp_path / "ray")
    assert token_file(given, {}) == made
    assert made.stat().st_mode & 0o077 == 0
    assert keep_token(tmp_path / "ray").read_text() == made.read_text()
    assert token_file(given, {"RAY_AUTH_TOKEN_PATH": "/etc/ray/token"}) == Path("/etc/ray/token")
    with pytest.raises(InterlockError) as refused:
        refuse_no_token(tmp_path / "nowhere")
    assert refused.value.code == "SETTINGS_RAY_TOKEN"


async def test_a_worker_without_the_token_is_told_which_file_to_copy(tmp_path: Path) -> None:
    with pytest.raises(InterlockError) as refused:
        await join(settings(data_dir=tmp_path), JoinOptions(host="127.0.0.1", port=6379))
    assert (refused.value.code, str(tmp_path / "ray" / "token") in refused.value.message) == (
        "SETTINGS_RAY_TOKEN",
        True,
    )
    assert "ray/token" in refused.value.details["next"]
