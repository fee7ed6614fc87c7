"""Torch networks that embed: their rows, weights, transforms and files; for encoders and fine-tuning alike."""
