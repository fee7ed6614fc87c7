"""From a row to the raw files of a sample: which file plays which role, and how it gets here."""
