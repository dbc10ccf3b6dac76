"""The guarded HTTP client behind ``ports/egress``."""
