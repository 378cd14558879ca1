"""One script for each kind of user, in cells: run it whole, or cell by cell in a notebook or an editor.

`python -m experiments.tutorials.NAME [FILE]` writes its figure to FILE, or to NAME.png.
"""
