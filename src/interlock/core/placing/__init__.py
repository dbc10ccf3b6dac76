"""Where tasks with resources may run: what workers have, and who gets it next. Nothing here waits or runs anything."""
