"""Use cases about access: API keys, stream tickets, tenants of local mode, the audit log, and who is calling."""
