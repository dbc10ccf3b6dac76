"""F1 at length: every phase of schemathesis over every operation of a server of its own.

    PYTHONPATH=src python tests/fuzz/run.py --examples 100 --seed 1

Prints what schemathesis found and one line of figures. The exit code is 1 if it found anything.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
from datetime import timedelta
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from fuzz.callers import callers_of
from fuzz.fuzzing import PHASES, fuzz
from interlock.backends.identity.local import LocalIdentity
from interlock.kit.clock import SystemClock
from served import start_server, stop_server


def main() -> int:
    """Run as the arguments say; the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--examples", type=int, default=12, help="cases per operation and phase")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--phases", default=PHASES)
    parser.add_argument("--workers", type=int, default=1)
    told, more = parser.parse_known_args()
    with tempfile.TemporaryDirectory(prefix="interlock-fuzzed-") as folder:
        data_dir = Path(folder)
        data_dir.chmod(0o755)
        process, url, _ = start_server(data_dir)
        identity = LocalIdentity(data_dir, SystemClock())
        identity.open()

        def mint(subject: str, tenant: str, scopes: frozenset[str]) -> str:
            return identity.mint(subject, tenant, scopes, timedelta(hours=12))

        try:
            figures = fuzz(
                url,
                asyncio.run(callers_of(url, mint)),
                examples=told.examples,
                seed=told.seed,
                workers=told.workers,
                phases=told.phases,
                options=tuple(more),
            )
        finally:
            code = stop_server(process)
        log = (data_dir / "server.log").read_text()
    print(figures.output)
    print(log[-3000:])
    print(figures.line())
    return 1 if figures.failures or code else 0


if __name__ == "__main__":
    sys.exit(main())
