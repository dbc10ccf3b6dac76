"""Values that are bytes, within JSON: as functions give and get them, and as they travel between tasks.

Only sandboxes read the bytes; to the server they are a text like any other, which is stored once and referred to where
it is large. No form can hold a pickle.
"""

from __future__ import annotations

import base64
import io
from binascii import Error
from collections.abc import Callable
from hashlib import sha256
from importlib import import_module
from typing import Any

from interlock.core.binary import ARROW, BINARY, BYTES, DEEPEST, NUMPY
from interlock.ports.node import NodeFailed

LARGE_ARRAY = 1_048_576
"""Bytes from which an array of numpy is handed on as it is; a smaller one becomes a list."""
_PLAIN_NUMBERS = "biufc"  # kinds of numpy's types that hold numbers and no objects


def pack(value: Any, depth: int = 0) -> Any:
    """The value with bytes, large arrays and tables of Arrow in it as JSON, in objects up to 4 deep; else as it is."""
    if type(value) is dict and depth < DEEPEST:
        packed = {key: pack(item, depth + 1) for key, item in value.items()}
        return packed if any(packed[key] is not item for key, item in value.items()) else value
    found = _content_of(value)
    return value if found is None else _written(*found)


def unpack(value: Any, depth: int = 0) -> Any:
    """What ``pack`` was given. Raises NodeFailed BINARY_INVALID for bytes that are not what they are said to be."""
    if type(value) is not dict or depth >= DEEPEST:
        return value
    inner = value.get(BINARY)
    if len(value) == 1 and type(inner) is dict and type(inner.get("base64")) is str:
        return _read(str(inner.get("content_type", BYTES)), inner["base64"])
    unpacked = {key: unpack(item, depth + 1) for key, item in value.items()}
    return unpacked if any(unpacked[key] is not item for key, item in value.items()) else value


def _content_of(value: Any) -> tuple[str, bytes] | None:
    if isinstance(value, bytes | bytearray | memoryview):
        return BYTES, bytes(value)
    library = type(value).__module__.partition(".")[0]
    if library == "numpy" and getattr(value, "nbytes", 0) >= LARGE_ARRAY and value.dtype.kind in _PLAIN_NUMBERS:
        file = io.BytesIO()
        import_module("numpy").save(file, value, allow_pickle=False)
        return NUMPY, file.getvalue()
    if library == "pyarrow" and type(value).__name__ in ("Table", "RecordBatch"):
        return ARROW, _arrow_stream(value)
    return None


def _arrow_stream(table: Any) -> bytes:
    file = io.BytesIO()
    with import_module("pyarrow.ipc").new_stream(file, table.schema) as stream:
        stream.write(table)
    return file.getvalue()


def _written(content_type: str, content: bytes) -> dict[str, Any]:
    told = {"content_type": content_type, "size": len(content), "sha256": sha256(content).hexdigest()}
    return {BINARY: {**told, "base64": base64.b64encode(content).decode("ascii")}}


def _read(content_type: str, text: str) -> Any:
    """The value; as bytes where the library that it came from is not installed."""
    try:
        content = base64.b64decode(text, validate=True)
        return _READERS.get(content_type, _as_it_is)(content)
    except ImportError:
        return content
    except (Error, ValueError, OSError, EOFError) as error:
        raise NodeFailed("BINARY_INVALID", f"A value is no {content_type}: {error}") from error


def _as_it_is(content: bytes) -> bytes:
    return content


def _numpy_array(content: bytes) -> Any:
    return import_module("numpy").load(io.BytesIO(content), allow_pickle=False)


def _arrow_table(content: bytes) -> Any:
    return import_module("pyarrow.ipc").open_stream(content).read_all()


_READERS: dict[str, Callable[[bytes], Any]] = {NUMPY: _numpy_array, ARROW: _arrow_table}
