"""What moves executions: the runner works out what is next for those it holds, and the journal has it committed."""
