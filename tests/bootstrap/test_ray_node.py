"""What keeps a machine from joining a Ray, before any of Ray is started."""

from __future__ import annotations

from pathlib import Path

import pytest

from interlock.bootstrap.ray_node import join
from interlock.config import Settings
from interlock.core.errors import InterlockError
from interlock.doors.cli.failures import next_step
from interlock.doors.cli.programs import JoinOptions

pytest.importorskip("ray")


def options(token: Path, address: str | None = None) -> JoinOptions:
    return JoinOptions(
        host="127.0.0.1",
        port=1,
        address=address,
        data_dir=None,
        auth_file=token,
        num_cpus=None,
        num_gpus=None,
        memory=None,
    )


async def refused(folder: Path, wanted: JoinOptions) -> InterlockError:
    with pytest.raises(InterlockError) as caught:
        await join(Settings(data_dir=folder), wanted)
    assert next_step(caught.value)
    return caught.value


async def test_a_token_that_is_not_there_and_an_address_of_another_machine_are_refused_at_once(tmp_path: Path) -> None:
    token = tmp_path / "token"
    assert (await refused(tmp_path, options(token))).code == "SETTINGS_RAY_TOKEN"
    token.write_text("x" * 40)
    error = await refused(tmp_path, options(token, "192.0.2.1"))
    assert error.code == "SETTINGS_RAY_ADDRESS"
    assert "192.0.2.1 is not an address of this machine" in error.message
