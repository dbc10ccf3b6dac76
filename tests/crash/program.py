"""The program: runs scenarios one after the other, prints what it found, and keeps it."""

from __future__ import annotations

import argparse
import asyncio
import random
import shutil
import subprocess
import sys
import tempfile
import traceback
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

from crash.clock import stamp, steady
from crash.database import PostgresServer
from crash.figures import write_figures
from crash.scale import SCALES, Scale
from crash.scenarios import SCENARIOS
from crash.stage import Stage, Stuck
from crash.verdict import Verdict

ROOT = Path(__file__).resolve().parents[2]
RESULTS = Path(__file__).resolve().parent / "results"
DOCUMENT = ROOT / "docs" / "reliability.md"
LONGEST = {"short": 240.0, "make": 600.0, "full": 7200.0}
"""Seconds after which a single scenario is given up."""


def main(arguments: list[str] | None = None) -> int:
    """Run what was asked for; 0 if everything passed."""
    asked = _read(arguments)
    scale = SCALES[asked.scale]
    names = tuple(asked.only.upper().split(",")) if asked.only else _possible(scale.scenarios)
    unknown = [name for name in names if name not in SCENARIOS]
    if unknown:
        print(f"There is no scenario {', '.join(unknown)}; there are {', '.join(SCENARIOS)}.")
        return 2
    seed = asked.seed if asked.seed is not None else random.SystemRandom().randrange(1 << 31)
    verdicts = asyncio.run(run_all(names, scale, seed, asked.out, keep=asked.keep))
    for verdict in verdicts:
        print(summary(verdict))
    if scale.name != "short" and set(names) == set(scale.scenarios):
        write_figures(DOCUMENT, verdicts)
    passed = sum(verdict.word == "PASS" for verdict in verdicts)
    print(f"{passed} of {len(verdicts)} scenarios passed (scale {scale.name}, seed {seed}); results in {asked.out}")
    return 0 if passed == len(verdicts) else 1


def _possible(names: tuple[str, ...]) -> tuple[str, ...]:
    """Those that this machine has the packages for."""
    if find_spec("ray") is not None:
        return names
    left_out = [name for name in names if name in SCENARIOS and SCENARIOS[name].needs_ray]
    print(f"Ray is not installed; left out: {', '.join(left_out) or 'nothing'}")
    return tuple(name for name in names if name not in left_out)


def _read(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="run.py", description=__doc__)
    parser.add_argument("--scale", choices=sorted(SCALES), default="make", help="how much of everything")
    parser.add_argument("--only", default="", help="scenarios by number, comma-separated; default: all of the scale")
    parser.add_argument("--seed", type=int, default=None, help="repeat a run's random choices")
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder for verdicts, logs and dumps")
    parser.add_argument("--keep", action="store_true", help="keep logs and ledgers of scenarios that passed, too")
    return parser.parse_args(arguments)


async def run_all(names: tuple[str, ...], scale: Scale, seed: int, out: Path, *, keep: bool = False) -> list[Verdict]:
    """Run scenarios on one Postgres. Verdicts go to ``out`` as they come, and the logs of what did not pass."""
    out.mkdir(parents=True, exist_ok=True)
    place = Path(tempfile.mkdtemp(prefix="interlock-crash-"))
    place.chmod(0o755)  # root's Postgres may have to run as another user, who must get here
    postgres = PostgresServer(place / "postgres")
    verdicts = []
    try:
        await postgres.start()
        for name in names:
            verdict = await _run_one(name, postgres, place, scale, seed)
            verdicts.append(verdict)
            print(f"{stamp()} {name:4} {verdict.word:8} {verdict.seconds:6.1f} s  {verdict.title}", flush=True)
            (out / f"{name}.json").write_bytes(verdict.to_json())
            kept = out / name
            shutil.rmtree(kept, ignore_errors=True)
            if keep or verdict.word != "PASS":
                shutil.copytree(place / name, kept, ignore=shutil.ignore_patterns("shared-data"))
    finally:
        await postgres.stop()
        shutil.rmtree(place, ignore_errors=True)
    return verdicts


async def _run_one(name: str, postgres: PostgresServer, place: Path, scale: Scale, seed: int) -> Verdict:
    title, run, _ = SCENARIOS[name]
    verdict = Verdict(
        scenario=name,
        title=title,
        seed=seed,
        scale=scale.name,
        commit=_commit(),
        versions=_versions(),
        started_at=stamp(),
    )
    begun = steady()
    try:
        async with Stage(postgres, place / name, scale, verdict) as stage:
            async with asyncio.timeout(LONGEST[scale.name]):
                await run(stage)
            verdict.versions["postgres"] = str(await stage.observer.value("show server_version"))
    except Exception as error:
        verdict.error = describe(error)
        if not verdict.error.startswith("stuck"):
            traceback.print_exc()
    verdict.seconds = round(steady() - begun, 1)
    return verdict


def describe(error: BaseException) -> str:
    """Why a scenario broke off; of several parts that did, the first one's reason."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return f"stuck: {error}" if isinstance(error, Stuck) else f"{type(error).__name__}: {error}"[:2000]


def summary(verdict: Verdict) -> str:
    """A verdict in a few lines."""
    lines = [f"\n{verdict.scenario} {verdict.word}: {verdict.title} (seed {verdict.seed}, {verdict.seconds:g} s)"]
    for word, found in (("hit", verdict.injections), ("counted", verdict.counts), ("measured", verdict.figures)):
        if found:
            lines.append(f"  {word}: " + ", ".join(f"{name} {value:g}" for name, value in found.items()))
    lines += [f"  NOT {check.name}: {check.seen}" for check in verdict.failures()]
    if verdict.error:
        lines.append(f"  {verdict.error}" + (f" (dump: {verdict.dump})" if verdict.dump else ""))
    return "\n".join(lines)


def _commit() -> str:
    asked = ["git", "describe", "--always", "--dirty"]
    return subprocess.run(asked, cwd=ROOT, capture_output=True, text=True, check=False).stdout.strip()


def _versions() -> dict[str, str]:
    return {"interlock": version("interlock"), "python": sys.version.split()[0], "asyncpg": version("asyncpg")}
