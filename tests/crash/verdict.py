"""What a scenario found: checks that must hold, and proof that the faults really hit."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec


class Check(msgspec.Struct, frozen=True):
    """One thing that must hold, and what was seen."""

    name: str
    is_ok: bool
    seen: str


class Verdict(msgspec.Struct, kw_only=True):
    """The result of one scenario. PASS needs every check and every proof; without proof it is INVALID, never PASS."""

    scenario: str
    title: str
    seed: int
    scale: str
    commit: str = ""
    versions: dict[str, str] = {}
    started_at: str = ""
    seconds: float = 0.0
    injections: dict[str, int] = {}
    counts: dict[str, int] = {}
    figures: dict[str, float] = {}
    checks: list[Check] = []
    proofs: list[Check] = []
    error: str = ""
    dump: str = ""

    @property
    def word(self) -> str:
        """PASS, FAIL (a promise was broken, or the scenario itself did) or INVALID (nothing was proven)."""
        if self.error or not all(check.is_ok for check in self.checks):
            return "FAIL"
        if not self.proofs or not all(proof.is_ok for proof in self.proofs):
            return "INVALID"
        return "PASS"

    def expect(self, name: str, is_ok: bool, seen: object = "") -> None:
        """A promise of the product."""
        self.checks.append(Check(name, bool(is_ok), str(seen)))

    def expect_none(self, name: str, found: Iterable[object]) -> None:
        """A promise of the product: there is no such thing. The first few are shown."""
        things = [str(thing) for thing in found]
        shown = ", ".join(things[:5]) + (" …" if len(things) > 5 else "")
        self.expect(name, not things, f"{len(things)}: {shown}" if things else "0")

    def prove(self, name: str, is_ok: bool, seen: object = "") -> None:
        """Evidence that the fault hit, or that there was work for it to hit."""
        self.proofs.append(Check(name, bool(is_ok), str(seen)))

    def failures(self) -> list[Check]:
        """What stands in the way of PASS."""
        return [check for check in (*self.checks, *self.proofs) if not check.is_ok]

    def to_json(self) -> bytes:
        """The whole verdict for a file."""
        plain: dict[str, Any] = msgspec.to_builtins(self)
        return msgspec.json.format(msgspec.json.encode({"verdict": self.word, **plain}), indent=2)


def percentile(values: Iterable[float], share: float) -> float:
    """The smallest value that at least ``share`` of all do not exceed; 0 without values."""
    ordered = sorted(values)
    if not ordered:
        return 0.0
    return ordered[min(len(ordered) - 1, max(0, -int(-share * len(ordered) // 1) - 1))]
