"""Flows: finite-state machines moved by signals and node results."""
