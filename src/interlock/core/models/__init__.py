"""What a model call is, what it costs and who serves it: plain rules without I/O."""
