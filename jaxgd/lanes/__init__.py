"""The engine: many descents at once, a finished one making room for the next."""
