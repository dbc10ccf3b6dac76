"""What all blob stores say of content."""

from __future__ import annotations

import hashlib
import re

from interlock.core.errors import ErrorKind, InterlockError, not_found

SHA256 = re.compile(r"[0-9a-f]{64}")


def sha256_of(content: bytes) -> str:
    """The name of a content: its SHA-256 in lower-case hex."""
    return hashlib.sha256(content).hexdigest()


def is_name(sha256: str) -> bool:
    """Whether a text can be the name of a content at all."""
    return SHA256.fullmatch(sha256) is not None


def missing(sha256: str) -> InterlockError:
    """NOT_FOUND for a name that this tenant has no content under."""
    return not_found("BLOB_NOT_FOUND", f"There is no blob {sha256[:64]!r}", sha256=sha256[:64])


def checked(sha256: str, content: bytes) -> bytes:
    """The content, if it still is what its name says. Raises INTERNAL."""
    if sha256_of(content) != sha256:
        message = f"The blob {sha256} is damaged: its content has another checksum. Restore it from a backup."
        raise InterlockError(ErrorKind.INTERNAL, "BLOB_DAMAGED", message, details={"sha256": sha256})
    return content
