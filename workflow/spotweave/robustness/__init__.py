"""Whether embeddings lie by biology or by medical centre, where both are known.

index          the robustness index, by its published definition
margins        the margins of the package croma, where it is installed
labels         biology, centre and independent group of every patch
command        the whole way, to one table
"""
