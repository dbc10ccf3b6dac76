"""Ray by itself: a trivial function as remote tasks and as calls of an actor. Answers the lines of `peers/asked.py`."""

from __future__ import annotations

import os
import tempfile

os.environ |= {
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",  # its odd name for: stay on 127.0.0.1
    "RAY_USAGE_STATS_ENABLED": "0",
}

import ray
from asked import serve


@ray.remote
def increase(arguments: dict[str, int]) -> dict[str, int]:
    return {"n": arguments["n"] + 1}


@ray.remote
class Actor:
    def increase(self, arguments: dict[str, int]) -> dict[str, int]:
        return {"n": arguments["n"] + 1}


def main() -> None:
    """Start a Ray of two cores, answer until stdin ends, end it."""
    with tempfile.TemporaryDirectory(prefix="ilk-") as folder:
        ray.init(
            "local",
            num_cpus=2,
            include_dashboard=False,
            log_to_driver=False,
            object_store_memory=256 << 20,
            _temp_dir=folder,
        )
        actor = Actor.remote()

        def batch(count: int) -> list[dict[str, int]]:
            return ray.get([increase.remote({"n": number}) for number in range(count)])

        def single(number: int) -> dict[str, int]:
            return ray.get(actor.increase.remote({"n": number}))

        try:
            serve(batch, single)
        finally:
            ray.shutdown()


if __name__ == "__main__":
    main()
