"""Putting the spots onto the slide: one module an aligner."""
