"""Use cases of the built-in user directory: sign up, log in, renew, leave, and look after accounts."""
