"""Graphs: which nodes are ready, where their results go, and when nothing is left to do."""
