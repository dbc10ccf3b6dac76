"""Code that users send: bytes that no server process ever reads, under the digest of what they say."""

from __future__ import annotations

from typing import Literal

import msgspec

Form = Literal["source", "pickle"]
"""``source`` is the text of a Python module (UTF-8), ``pickle`` what cloudpickle wrote."""

MAX_CODE = 8 * 1_048_576
"""Bytes of one piece of code, and of one pickle of arguments."""


CODE_TYPE = "code"
"""The node type that calls code."""

ARGUMENTS = "arguments"
"""Its parameter that the function gets; of a batch, the list of these."""

WHAT_RUNS = ("code", "form", "function", "args", "kwargs")
"""Its parameters that decide which code runs: there is code in pickles of arguments, too."""

RAISED = "raised"
"""Detail of a failure whose code is the name of an exception that code raised: no such name is a code of ours."""


class Code(msgspec.Struct, frozen=True, kw_only=True):
    """A piece of code as it was saved. It never changes; ``digest`` is the lower-case hex SHA-256 of form and bytes."""

    digest: str
    form: Form
    content: bytes
    author: str
