"""``python tests/crash/run.py --scale short|make|full``: the reliability suite as a program."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

if __name__ == "__main__":
    sys.path[0] = str(Path(__file__).resolve().parents[1])  # the suite is the package `crash` of the tests
    sys.exit(importlib.import_module("crash.program").main())
