"""What differs between the reading of a deposit and that of its damaged copy, named by kind."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from scipy.spatial import KDTree

PLACES = ["array_col", "array_row"]
MEASURED = ["array_x", "array_y"]
PIXELS = ["x_px", "y_px"]
OF_SPOTS = ("spot_id", *PLACES, *MEASURED, *PIXELS, "in_tissue", "total_counts")


@dataclass
class Kept:
    """A reading, as far as it is compared.

    `counts` units x genes (CSR), `obs` and `var` their tables, `spots` the table of all spots, `flags` what the record
    says of the deposit's own contradictions. Of a picture: `rgb` and `size`.
    """

    counts: Any = None
    obs: Any = None
    var: Any = None
    spots: Any = None
    rgb: Any = None
    size: tuple[int, int] = (0, 0)
    flags: set[str] = field(default_factory=set)


def of_reading(reading: Any) -> Kept:
    """Keep what is compared of a reading."""
    adata = reading.adata
    return Kept(adata.X.tocsr(), adata.obs.copy(), adata.var.copy(), reading.spots, flags=set(_flags(reading)))


def _flags(reading: Any) -> list[str]:
    return list(reading.report["data_flags"])


def kinds(base: Kept, found: Kept) -> list[str]:
    """Every kind of difference there is, sorted; nothing where both say the same, in whatever order."""
    if base.rgb is not None:
        return _of_pictures(base, found)
    said = [f"units {what}" for what in _sets(base.obs.index, found.obs.index)]
    said += [f"spots {what}" for what in _sets(base.spots["spot_id"], found.spots["spot_id"])]
    said += _of_genes(base.var, found.var)
    said += _of_counts(base, found)
    said += _of_columns(base.spots.set_index("spot_id"), found.spots.set_index("spot_id"), OF_SPOTS)
    said += _of_pixels(base.spots.set_index("spot_id")[PIXELS], found.spots.set_index("spot_id")[PIXELS])
    more = [name for name in (*base.obs, *found.obs) if name not in OF_SPOTS]
    said += _of_columns(base.obs, found.obs, dict.fromkeys(more))
    return sorted(set(said))


def _of_pictures(base: Kept, found: Kept) -> list[str]:
    if base.size != found.size or base.rgb.shape != found.rgb.shape:
        return ["another size"]
    return ["colours"] if (base.rgb != found.rgb).any() else []


def _sets(base: Any, found: Any) -> list[str]:
    before, now = set(base), set(found)
    said = ["lost"] if before - now else []
    return [*said, "gained"] if now - before else said


def _of_genes(base: pd.DataFrame, found: pd.DataFrame) -> list[str]:
    by_name = _sets(base.index, found.index)
    if by_name and len(base) == len(found):
        return ["genes renamed"]
    said = [f"genes {what}" for what in by_name]
    both = base.index.intersection(found.index)
    for name in sorted({*base, *found}):
        one, other = (table[name].reindex(both).astype(str) if name in table else None for table in (base, found))
        if one is None or other is None or not one.equals(other):
            said.append(f"gene column {name}")
    return said


def _of_counts(base: Kept, found: Kept) -> list[str]:
    """Whether a unit and a gene that both have are counted differently; renamed genes are compared by their order."""
    units = base.obs.index.intersection(found.obs.index)
    before = base.counts[base.obs.index.get_indexer(units)]
    now = found.counts[found.obs.index.get_indexer(units)]
    if set(base.var.index) != set(found.var.index) and len(base.var) == len(found.var):
        return ["counts"] if (before != now).nnz else []
    genes = base.var.index.intersection(found.var.index)
    before = before[:, base.var.index.get_indexer(genes)]
    now = now[:, found.var.index.get_indexer(genes)]
    return ["counts"] if (before != now).nnz else []


def _of_pixels(base: pd.DataFrame, found: pd.DataFrame) -> list[str]:
    """How far spots have moved, against half the distance to the nearest neighbour."""
    both = base.index.intersection(found.index)
    before, now = base.loc[both].to_numpy(float), found.loc[both].to_numpy(float)
    was_known, is_known = np.isfinite(before).all(axis=1), np.isfinite(now).all(axis=1)
    said = ["pixels not given"] if (was_known & ~is_known).any() else []
    if (is_known & ~was_known).any():
        said.append("pixels gained")
    known = was_known & is_known
    moved = np.linalg.norm(before - now, axis=1)[known]
    if (moved > 0).any():
        nearest = np.median(KDTree(before[known]).query(before[known], k=2)[0][:, 1])
        said.append("pixels moved within half the pitch" if moved.max() <= nearest / 2 else "pixels moved")
    return said


def _of_columns(base: pd.DataFrame, found: pd.DataFrame, names: Any) -> list[str]:
    both = base.index.intersection(found.index)
    said = []
    for name in names:
        if name in ("spot_id", "total_counts", *PIXELS):  # compared otherwise: by sets, as counts, as distances
            continue
        if name not in base or name not in found:
            said.append(f"column {name} {'gained' if name in found else 'lost'}")
            continue
        one, other = (pd.to_numeric(table.loc[both, name], errors="coerce").to_numpy(float) for table in (base, found))
        if np.isnan(other[~np.isnan(one)]).any():
            said.append(f"{name} not given")
        known = ~np.isnan(other)
        if (one[known] != other[known]).any() or (np.isnan(one) & known).any():
            said.append(f"{name} changed")
    return said
