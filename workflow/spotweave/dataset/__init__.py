"""From stages' results to the released dataset."""
