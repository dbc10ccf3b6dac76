"""What the engine and the services need from outside: a Protocol in each file, and nothing that fulfils it."""
