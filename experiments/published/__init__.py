"""Published tables of the field, reproduced: one script for each.

    python -m experiments.published                                           what there is
    python -m experiments.published.NAME [--quick] [--json] [--out DIR]
    python -m experiments.published --all [--quick] [--json] [--out DIR] [--jobs N]

Each row stands beside its source, with an interval, a z-score and a verdict (`rows.py`). Every script states the law of
its starts, step, stop rule and seed, and the same seed gives the same table.
"""
