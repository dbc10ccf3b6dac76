"""Calls of models for callers: found, paid for, tried again, relayed, booked."""
