"""How large a definition may be. All of it is checked before anything is stored."""

from __future__ import annotations

import re

MAX_NODES = 5_000
MAX_CONNECTIONS = 20_000
MAX_LOOPS = 100  # map and loop nodes of one graph
MAX_STATES = 500
MIN_STATES = 2
MAX_TRANSITIONS = 5_000
MAX_ENDS = 20_000  # sources and targets of all transitions together

MAX_VALUES = 200_000  # JSON values in all parameters, inputs and mappings together
MAX_DEPTH = 64  # lists and objects inside each other
MAX_EXPRESSION_TEXT = 131_072  # characters of all different expressions together; parsing takes 4 to 6 us for each
WHOLE_MIN, WHOLE_MAX = -(1 << 63), (1 << 64) - 1  # whole numbers of 64 bits with or without sign

MAX_ID = 128
MAX_STATE_NAME = 64
MAX_EVENT = 64
MAX_NAME = 200
MAX_DESCRIPTION = 10_000
MAX_TAGS = 50
MAX_TAG = 64

MAX_DURATION = 30 * 86_400.0  # seconds: timeouts and deadlines
MAX_TIMER = 366 * 86_400.0  # seconds: resting in a flow state
MAX_ATTEMPTS = 100
MAX_BACKOFF = 86_400.0  # seconds
MAX_FACTOR = 100.0
MAX_RETRY_CODES = 50
MAX_PARALLEL = 10_000
MAX_AMOUNT = 1e9  # cores, devices and MiB that a node asks for

MAX_PROBLEMS = 500  # reported of one definition
MAX_MISMATCHES = 20  # with the schema, reported of one node

ID = re.compile(rf"[A-Za-z0-9_.:-]{{1,{MAX_ID}}}")
STATE_NAME = re.compile(rf"[A-Za-z0-9_.-]{{1,{MAX_STATE_NAME}}}")
EVENT = re.compile(rf"[A-Z0-9_.-]{{1,{MAX_EVENT}}}")
