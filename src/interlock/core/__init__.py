"""The nouns of Interlock and their rules. Plain functions: they wait for nothing, and time and ids are arguments."""
