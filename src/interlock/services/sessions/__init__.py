"""Sessions: executions of flows as their clients know them, by ids that these may choose, with a state to look at."""
