"""Who plugs what into what: the only package that knows every part, and the console script's entry."""

from interlock.bootstrap.main import create_app, main

__all__ = ["create_app", "main"]
