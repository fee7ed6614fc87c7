"""Xenium: what its files are called (`layout`) and how they are read (`read`)."""

UNIT = "cell"
