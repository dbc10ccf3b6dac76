"""What is true: the nouns and rules of Interlock. Pure and synchronous; no I/O; time and ids are passed in."""
