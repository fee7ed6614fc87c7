"""Who is who across cohorts: the same expression, the same picture, the same donor under different names."""
