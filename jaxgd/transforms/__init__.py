"""Gradient transformations that optax lacks, one method a file."""
