"""How long descents dwell at saddles and in wells, against exact laws: `python -m experiments.escape.NAME`."""
