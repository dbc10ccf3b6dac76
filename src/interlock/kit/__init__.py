"""Small things that know nothing of workflows: clock, ids, strict JSON and YAML, failpoints."""
