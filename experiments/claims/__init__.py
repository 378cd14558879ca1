"""The source texts' claims, put to the test: one module for each claim, T0.1 to T4.8.

    python -m experiments.claims                          what there is
    python -m experiments.claims T2.5 [--quick] [--json] [--out DIR]
    python -m experiments.claims --all [--quick] [--json] [--out DIR] [--jobs N]

`python -m experiments.claims.t2_5` does the same as `python -m experiments.claims T2.5`. With `--all` each claim
has a process of its own, so that one that fails does not stop the rest; a table of all verdicts comes last, and
`--out` adds the page GALLERY.md with all figures.

A claim is a module `tA_B.py`, under 100 lines, since the library does the work:

    '''T2.5: one sentence of what the source claims.

    What is measured, on what, with which budget; how many settings each arm was tuned over; what decides.
    '''

    def measure(options: experiment.Options) -> experiment.Claim:  # name="T2.5"
        ...  # descents, then `judge`

    def figure(claim: experiment.Claim) -> Figure:
        ...  # drawn from claim.rows and claim.data alone; its title says the finding

    if __name__ == "__main__":
        sys.exit(experiment.main(measure, description=__doc__, figure=figure))

The verdict follows from the rows alone, by the rule of `experiment.Claim`. What is measured and how it is judged are
apart: a function `judge(...) -> experiment.Claim` takes arrays and makes rows, and a test hands it other arrays and
sees another verdict. Curves and pictures travel in `Claim.data`, which is neither judged nor printed.

Rules for all: descents of different arms start from the same points; budgets are counted in ticks; every arm has its
rate tuned over equally many settings, on starts of their own; intervals have the confidence `experiment.CONFIDENCE`.
`--quick` takes some 30 seconds on one core, compilation included.
"""
