"""LiteLLM's proxy, with one worker, before the same provider: the peer of the model gateway."""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.peers.install import install_litellm
from benchmarks.program import Program, ProgramError

KEY = "sk-a-key-of-the-benchmark-0123456789"
_START_SECONDS = 120.0


@contextmanager
def running(port: int, upstream: int, place: Path) -> Iterator[int]:
    """The proxy, ready for requests; its process id. Raises PeerMissing, ProgramError."""
    model = {"model": "openai/fake", "api_base": f"http://127.0.0.1:{upstream}/v1", "api_key": "x"}
    settings = {
        "model_list": [{"model_name": "fake", "litellm_params": model}],
        "general_settings": {"master_key": KEY},
        "litellm_settings": {"telemetry": False, "callbacks": []},
    }
    config = place / "litellm.yaml"
    config.write_text(json.dumps(settings))  # JSON is YAML
    options = ["--config", str(config), "--port", str(port), "--host", "127.0.0.1", "--num_workers", "1"]
    command = [str(install_litellm()), "-c", "from litellm import run_server; run_server()", *options]
    quiet = {"LITELLM_LOG": "ERROR", "LITELLM_LOCAL_MODEL_COST_MAP": "True"}
    with Program(command, log=place / "litellm.log", environment=quiet) as program:
        _wait(port)
        yield program.pid


def _wait(port: int) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline:
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{port}/health/liveliness", timeout=5).close()
        except (urllib.error.URLError, OSError):
            time.sleep(0.3)
        else:
            return
    raise ProgramError(f"LiteLLM was not ready within {_START_SECONDS:.0f} s")
