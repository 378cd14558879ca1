"""How many descents run at once."""
