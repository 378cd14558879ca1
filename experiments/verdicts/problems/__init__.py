"""The public trial ground: problems that nobody here made up, each with what is true of its critical points.

One family a file. `outcomes` says when a verdict is right, undecided or wrong; the tests in `tests/trials` run a share
of the families, `python -m experiments.verdicts.trials` runs them all and prints the table.
"""
