"""The reliability suite: real servers, real Postgres, real faults, and an outside ledger that decides.

A scenario breaks something on purpose while work is in flight and afterwards compares three independent accounts: what
clients were promised, what the log in Postgres says, and what the sink outside saw happen. ``run.py`` runs them.
"""
