"""Functions to descend, one family a file, each with the facts that are known about it."""
