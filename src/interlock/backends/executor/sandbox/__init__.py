"""The executor of users' code: the pool of child processes, each child behind walls.

A child is a *cell* of one of three modes. ``bwrap``: namespaces of its own by bubblewrap (no network, no other
processes, the system read-only, a private scratch folder), a filter of system calls (``seccomp``), and a cgroup where
the machine lets us make one. ``subprocess``: limits of memory, files and processes only. ``none``: nothing but a clean
environment. A child serves one tenant and one piece of code; what it says is taken as the word of a stranger
(``verdict``).
"""
