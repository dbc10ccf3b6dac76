"""Who plugs what into what: the only package that knows every part, and the console script's entry."""
