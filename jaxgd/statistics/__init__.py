"""Every number with its uncertainty."""
