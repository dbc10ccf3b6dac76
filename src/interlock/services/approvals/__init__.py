"""Use cases about approvals: the inbox of open questions, and their decision."""
