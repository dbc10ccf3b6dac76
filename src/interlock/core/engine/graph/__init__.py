"""Graphs: nodes joined by connections, run as their inputs become ready."""
