"""What a tenant registers for its clients: nodes that are called over HTTP, and flows under names of their own."""
