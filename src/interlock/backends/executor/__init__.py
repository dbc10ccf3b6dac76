"""Places for tasks: ``inline`` on the event loop, ``pool`` in child processes that can crash and be killed.

Both run the same nodes with the same services and report in the same words; ``tests/conformance/test_executors.py``
holds them to it. An executor retries nothing: it says what became of an attempt, the engine decides what follows.
"""
