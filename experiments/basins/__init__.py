"""Which start ends where, against exact shares and the gradient flow: `python -m experiments.basins.NAME`."""
