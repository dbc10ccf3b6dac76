"""Use cases about executions: start, read, watch, signal, pause and cancel."""
