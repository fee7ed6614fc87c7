"""Batch effects of a dataset: how far cohorts, technologies or donors lie apart, and what corrections would do to that.

An exploration: nothing here is written into the release, and no benchmark reads it.
"""
