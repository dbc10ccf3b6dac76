"""The name of a definition by its content."""

from __future__ import annotations

import hashlib

import msgspec

from interlock.core.errors import rule_broken
from interlock.core.workflow import Definition


def digest(definition: Definition) -> str:
    """SHA-256, in hex, of a definition's canonical JSON: equal for equal definitions, whatever the order of keys.

    Values that are the default count as absent. The order of lists counts, so does 1 against 1.0. Raises
    InterlockError for a definition that is not plain JSON, which one that passed the checks always is.
    """
    try:
        text = msgspec.json.encode(definition, order="sorted")
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        raise rule_broken("NOT_JSON", f"The definition cannot be written as JSON: {error}") from error
    return hashlib.sha256(text).hexdigest()
