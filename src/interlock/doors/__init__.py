"""How it is reached: thin translations between a public vocabulary and the services."""
