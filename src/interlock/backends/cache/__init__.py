"""Caches: of one process, and of all that share a Redis."""
