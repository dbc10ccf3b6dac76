"""The built-in user directory in the shape of GoTrue, so that existing web clients log in here unchanged."""
