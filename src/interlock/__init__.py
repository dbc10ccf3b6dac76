"""Interlock: the guarded front door for agent workflows."""
