"""Values that are bytes, within JSON: how they are written, and of what kinds they are.

    {"$binary": {"content_type": "application/x-npy", "size": 8000128, "sha256": "9f86…", "base64": "k05V…"}}

They are looked for in objects up to ``DEEPEST`` deep.
"""

from __future__ import annotations

BINARY = "$binary"
"""The one key of an object that stands for bytes."""
BYTES, NUMPY, ARROW = "application/octet-stream", "application/x-npy", "application/vnd.apache.arrow.stream"
DEEPEST = 4
