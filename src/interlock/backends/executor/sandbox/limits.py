"""How much one sandbox may take. Both sides know these figures."""

from __future__ import annotations

MIB = 1_048_576
INIT = "1"
"""The number of the parent of a child in a namespace of processes of its own."""
LEAST_MEMORY = 64
"""MiB of a sandbox, whatever its task asks for: its own processes take some, and they are not the author's doing."""
SCRATCH = 512 * MIB
"""Bytes of the scratch folder, and of one file."""
PROCESSES = 256
"""Processes and threads."""
OPEN_FILES = 1024
