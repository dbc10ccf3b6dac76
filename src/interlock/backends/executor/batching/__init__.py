"""Batches: one call of a function for attempts that were placed together."""

from interlock.backends.executor.batching.executor import BatchingExecutor

__all__ = ["BatchingExecutor"]
