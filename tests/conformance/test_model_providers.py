"""The providers that are always there keep the promises of their port. For the local one see check_local_models.py."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from interlock.backends.egress.client import GuardedEgress
from interlock.backends.models.local.packages import require_installed
from interlock.backends.models.openai_compatible.provider import OpenAICompatible
from interlock.backends.models.scripted.provider import ScriptedProvider
from interlock.core.errors import InterlockError
from model_house import running_upstream
from provider_trial import CHECKS, Trial


@pytest.fixture(params=["scripted", "openai_compatible"])
async def trial(request: pytest.FixtureRequest) -> AsyncIterator[Trial]:
    if request.param == "scripted":
        yield Trial(ScriptedProvider(), "scripted", "scripted")
        return
    egress = GuardedEgress(("loopback",))
    async with running_upstream() as upstream:
        yield Trial(OpenAICompatible("p", upstream.url, "sk", egress), "m", "e")
    await egress.close()


@pytest.mark.parametrize("check", CHECKS)
async def test_a_provider_keeps_the_promises_of_its_port(trial: Trial, check: str) -> None:
    await getattr(trial, check)()


def test_without_its_packages_the_local_provider_says_what_to_install() -> None:
    with pytest.raises(InterlockError) as refused:
        require_installed({"no_such_module": "no-such-package", "msgspec": "msgspec"})
    assert refused.value.code == "LOCAL_MODELS_MISSING"
    assert refused.value.message.endswith("are missing: no-such-package")
    assert "pip install" in refused.value.details["next"]
