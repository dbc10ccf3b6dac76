"""Callbacks: a webhook that was called answers later, and proves that it may."""
