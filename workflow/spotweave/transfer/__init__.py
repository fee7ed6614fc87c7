"""Bringing files that others hold: asked for politely, resumed where it broke off, verified before they get a name."""
