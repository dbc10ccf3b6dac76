"""Small models that run in this process, from packages that carry their weights: to try things out with."""
