"""Secrets that stand in files, as orchestrators mount them: ``NAME_FILE`` says where the value of ``NAME`` is."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

ENDING = "_FILE"


def read_secret_files(told: Mapping[str, str], secrets: Mapping[str, str]) -> tuple[dict[str, str], list[str]]:
    """The values by setting, and what is wrong, one sentence each; ``secrets`` has the setting of every name.

    A line break at the end of a file does not count.
    """
    values, problems = {}, []
    for name, field in secrets.items():
        file = told.get(name + ENDING, "")
        if not file:
            continue
        if told.get(name):
            problems.append(f"{name} and {name}{ENDING} are one setting; leave one of them out")
        try:
            values[field] = Path(file).read_text(encoding="utf-8").rstrip("\r\n")
        except OSError as error:
            problems.append(f"{name}{ENDING}={file}: cannot be read: {error.strerror or error}")
        except UnicodeDecodeError:
            problems.append(f"{name}{ENDING}={file}: is not UTF-8 text")
    return values, problems
