"""The runs door: every execution of a tenant as a run, with its tasks, its events and its log."""
