"""The settings of the embedded server: durable, private, sized for a small machine."""

from __future__ import annotations

import os
from pathlib import Path

from interlock.backends.store.embedded.urls import PORT

GIB = 1 << 30
MEMORY_LIMITS = (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"))


def server_settings(socket_dir: Path) -> dict[str, str]:
    """Names and values for the command line, where no file in the cluster can weaken them."""
    return {
        # private
        "listen_addresses": "",
        "unix_socket_directories": str(socket_dir),
        "unix_socket_permissions": "0700",
        "port": str(PORT),
        "password_encryption": "scram-sha-256",
        "ssl": "off",
        # durable: what was acknowledged is on disk
        "fsync": "on",
        "full_page_writes": "on",
        "synchronous_commit": "on",
        "wal_level": "replica",
        # sized
        "max_connections": "300",  # a server process takes up to thirty
        "shared_buffers": "256MB" if memory_bytes() >= 4 * GIB else "128MB",
        "max_wal_size": "1GB",
        "checkpoint_timeout": "10min",
        # readable: one file, in UTC, without routine lines
        "timezone": "UTC",
        "log_timezone": "UTC",
        "log_destination": "stderr",
        "logging_collector": "off",
        "log_line_prefix": "%m [%p] %q%u@%d ",
        "log_checkpoints": "off",
        "cluster_name": "interlock",
    }


def memory_bytes() -> int:
    """The memory this machine or container may use."""
    limits = [os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")]
    for path in MEMORY_LIMITS:
        text = path.read_text().strip() if path.exists() else ""
        if text.isdecimal():  # otherwise "max": no limit
            limits.append(int(text))
    return min(limits)
