"""The systems Interlock is measured against: how each is installed, started and driven in its own natural shape."""
