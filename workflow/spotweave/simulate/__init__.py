"""Simulated samples in the vendors' own layouts, with the truth known: for demo and tests, never for science."""
