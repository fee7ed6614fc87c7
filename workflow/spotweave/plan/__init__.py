"""The plan of a run: all tables together, checked before anything starts, and what their rows ask of each job."""
