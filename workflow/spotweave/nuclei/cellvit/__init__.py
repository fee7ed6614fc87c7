"""CellViT (Hoerst et al. 2024): the networks, their published checkpoints, and how nuclei are separated on their maps.

Written from the papers and from the shapes of the published files; no code of the authors is used.
"""
