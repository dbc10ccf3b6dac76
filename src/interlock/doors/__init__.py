"""The doors: each turns a public vocabulary into calls of the services and back, and decides nothing."""
