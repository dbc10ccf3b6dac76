"""Who plugs what into what: the only package that knows every part, and the console script's entry.

The parts of a server are imported when a command needs one, so that ``interlock --help`` stays quick.
"""

from interlock.bootstrap.main import create_app, main

__all__ = ["create_app", "main"]
