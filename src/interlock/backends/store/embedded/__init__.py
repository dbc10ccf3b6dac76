"""The embedded Postgres: a real server of our own in the data directory, for those who bring no database.

It survives the death of the process that started it and is found again by the next one. It listens on a private
unix socket only, has no default password, and needs neither an installed database nor an ordinary user.
"""

from __future__ import annotations

from interlock.backends.store.embedded.supervisor import EmbeddedPostgres, EmbeddedStatus
from interlock.backends.store.embedded.urls import EmbeddedUrls, masked_url

__all__ = ["EmbeddedPostgres", "EmbeddedStatus", "EmbeddedUrls", "masked_url"]
