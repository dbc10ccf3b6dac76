"""JSON Schema: whether the parameters of nodes are what their types want."""
