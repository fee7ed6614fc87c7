"""HEST-Benchmark's released folder: read with care, scored as its own code does, written from a task of ours.

    <root>/<TASK>/patches/<ID>.h5, adata/<ID>.h5ad, splits/train_<k>.csv, test_<k>.csv, var_50genes.json

Layout: HEST-Library 1.1.1 (`hest/bench`). A csv's columns are `sample_id`, `patches_path` and `expr_path`, paths from
the task's folder.
"""

from __future__ import annotations

GENES_FILE = "var_50genes.json"
SPLIT_COLUMNS = ("sample_id", "patches_path", "expr_path")
