"""Runs by many processes: what kills them, what they give, and scripts for clusters."""
