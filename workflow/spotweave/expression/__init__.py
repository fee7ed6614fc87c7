"""Counts of samples as models see them: names that meet, genes that are chosen, scales."""
