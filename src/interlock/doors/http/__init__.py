"""The doors that speak HTTP: one folder per vocabulary, over the plumbing they share."""
