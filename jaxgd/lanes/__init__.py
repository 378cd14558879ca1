"""The engine: many descents at once; a finished one makes room for the next."""
