"""Flows: which state comes next, after a signal, a timer or the result of a node."""
