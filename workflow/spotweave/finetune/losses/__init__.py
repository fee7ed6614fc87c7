"""Losses of embeddings that belong together, a module each: row i of one side belongs to row i of the other.

Which of them normalises is part of what they are: `clip` and `siglip` take embeddings as they come (as open_clip's do),
the others normalise inside.
"""
