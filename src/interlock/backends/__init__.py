"""What stands behind the ports: a folder each, and only here a vendor is known."""
