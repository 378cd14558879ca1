"""Claims and benchmarks, each a command with a machine-readable answer: `python -m experiments...`."""
