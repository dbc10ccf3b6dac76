"""What we stand on: one folder per port, each with the vendors it needs."""
