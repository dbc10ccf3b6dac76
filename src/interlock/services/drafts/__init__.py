"""Drafts: task graphs that are built by calls, one after the other, and run."""
