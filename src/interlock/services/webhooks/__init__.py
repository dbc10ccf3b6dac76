"""Outgoing webhooks: who wants to hear of which events, and what became of the messages."""
