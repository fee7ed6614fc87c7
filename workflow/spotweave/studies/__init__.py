"""Studies of patients: slides without spots, expression of whole pieces of tissue, outcomes -> tables and metrics.

Whatever was predicted of the tiles of a slide is averaged over its patient and held against bulk expression, against
how the slide was stained and lit, and against how long the patient lived (docs/studies.md). Nothing here trains.
"""
