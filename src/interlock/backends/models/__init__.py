"""Model providers behind ``ports/models``."""
