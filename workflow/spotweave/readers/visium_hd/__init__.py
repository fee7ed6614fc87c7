"""Visium HD: what its files are called (`layout`) and how they are read (`read`)."""

MAPS_BINS = True
