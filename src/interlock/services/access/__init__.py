"""Use cases about access: API keys, stream tickets, tenants, the audit log, and who is calling."""
