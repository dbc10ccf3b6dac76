"""Use cases about workflows: write, check, read, change and delete definitions."""
