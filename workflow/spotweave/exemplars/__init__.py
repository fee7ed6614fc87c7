"""Spots of other samples that look like a spot, and the graphs that join spots and them."""
