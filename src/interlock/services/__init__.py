"""What can be asked: one file per use case. The principal comes first, and nobody here knows HTTP or a vendor."""
