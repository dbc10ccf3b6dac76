"""Secrets at rest: what is stored is unreadable without the server's keys, and useless in another place."""

from __future__ import annotations

from typing import Protocol


class Secrets(Protocol):
    """Seals values that are stored for later use: signing secrets of webhooks, keys of providers.

    A sealed value opens only under the tenant and the name it was sealed for, so that a row that was copied to
    another tenant or column opens nowhere. Keys may be rotated at any time; what was sealed before stays readable.
    """

    def seal(self, tenant_id: str, name: str, plain: bytes) -> bytes:
        """``plain`` as it may be stored; sealing the same twice gives two different results.

        ``name`` is what the secret is for and never changes, such as ``webhook/<id>``.
        """
        ...

    def open(self, tenant_id: str, name: str, sealed: bytes) -> bytes:
        """What was sealed under this tenant and name.

        Raises InterlockError SECRET_KEY_UNKNOWN if it was sealed with a key this server does not have, and
        SECRET_UNREADABLE if it was changed or belongs to another tenant or name.
        """
        ...

    def is_current(self, sealed: bytes) -> bool:
        """Whether the newest key sealed it; if not, seal it anew before the old key is thrown away."""
        ...
