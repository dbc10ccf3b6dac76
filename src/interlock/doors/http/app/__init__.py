"""The app door: workflows, executions and approvals for web and mobile users, and for our own command line."""
