"""Where the parts become a program: no other package knows them all. The console script begins here.

The parts of a server are imported when a command needs one, so that ``interlock --help`` stays quick.
"""

from interlock.bootstrap.main import create_app, main

__all__ = ["create_app", "main"]
