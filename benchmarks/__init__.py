"""Interlock beside its peers: one command starts each system in turn on this machine and runs the same work on it.

A separate set of programs, not part of the package. `drive.py`, this file and `peers/dbos_driver.py` also run in a
peer's own environment and therefore import nothing but the standard library (and that peer).
"""
