"""The same work done by jaxgd and by its rivals, in one run: `python -m experiments.benchmarks.NAME`."""
