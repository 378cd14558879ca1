"""Verdicts, put to the test where nobody can look at the whole spectrum."""
