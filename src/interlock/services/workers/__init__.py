"""Workers: machines that are announced, listed, and taken away again."""
