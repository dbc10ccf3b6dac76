"""Users' code as callers send it."""
