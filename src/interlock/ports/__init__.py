"""What we need of the world: one Protocol per file, no implementation."""
