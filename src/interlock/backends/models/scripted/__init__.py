"""A model that needs no network and always says the same: for trying things out, and for tests."""
