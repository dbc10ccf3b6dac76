"""What keeps it moving: the runner owns executions, decides, and records through the journal."""
