"""What a caller can have done, a file for each use case. Each takes the principal; none knows HTTP or a vendor."""
