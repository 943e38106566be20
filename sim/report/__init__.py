"""Reports of runs, batches, books, fits and checks: text on the terminal, and pictures.

The only room that imports rich. Where the output is no terminal it is plain text; NO_COLOR is respected.
"""
