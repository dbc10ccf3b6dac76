"""The pure engine: ``decide(execution, command) -> events`` and ``evolve(execution, event)``.

``decide`` advances the execution it is given only by evolving it with the events it returns, so the fold in
memory and the fold of the log are the same by construction.
"""
