"""The lattice door: task graphs that are built by calls, run, and watched."""
