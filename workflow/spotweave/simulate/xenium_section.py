"""A simulated Xenium section in the vendor's layout: cells, transcripts, DAPI, and the H&E stained afterwards.

Everything follows from one `Pair`: transcripts lie in the cells around its nuclei, with the genes of the tissue's
domains, and the alignment file holds the affine map nearest to the true one, as a vendor's would.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from spotweave.simulate.cells import Calls, Cells, cells_of, draw_calls, draw_within
from spotweave.simulate.count_files import Written
from spotweave.simulate.expression import panel
from spotweave.simulate.ome_files import write_ome
from spotweave.simulate.planted import Planted, plant
from spotweave.simulate.section_pair import Pair
from spotweave.simulate.tissue import Floats
from spotweave.simulate.xenium import CONTROLS, MIN_QV, Truth, Version
from spotweave.simulate.xenium_files import write_bundle

# Genes of each group of the panel that the probes are for.
PROBED = {"tumour": 22, "stroma": 20, "immune": 20, "fat": 10, "nuclei": 12, "housekeeping": 8}
GENES_IN_ENSEMBL_FROM = 90_000_000_000  # as in the simulated Visium samples; no such number has been given
LOW_QUALITY = 0.12  # share of calls below the vendor's limit
WRONG_GENE = 0.6  # share of those whose gene is any of the panel
CONTROL_SHARE = 0.015
DEPTH_UM = 10.0
KEYPOINTS = 12


@dataclass(frozen=True, kw_only=True)
class SectionTruth(Truth):
    """A section: what must be found in any files written of it.

    `indices` (genes,) are places in `expression.panel()`; `cells` the polygons, whose centroids are `xy_um`.
    """

    pair: Pair
    cells: Cells
    indices: NDArray[np.int64]

    @property
    def pixel_size_um(self) -> float:
        """um per px of DAPI."""
        return self.pair.dapi_pixel_size_um

    @property
    def gene_ids(self) -> list[str]:
        """Ensembl ids, one per gene: those of the same genes in the other simulated samples."""
        return [f"ENSG{GENES_IN_ENSEMBL_FROM + index:011d}" for index in self.indices.tolist()]

    def keypoints(self) -> tuple[Floats, Floats]:
        """Points of DAPI and the same of the H&E, px: nuclei from all over the section."""
        seen = np.flatnonzero(self.pair.on_he)
        order = seen[np.argsort(self.pair.nuclei_um[seen].sum(axis=1), kind="stable")]
        chosen = order[np.linspace(0, len(order) - 1, KEYPOINTS).astype(int)]
        points = self.pair.nuclei_um[chosen]
        return points / self.pixel_size_um, self.pair.um_to_he(points)

    def outlines(self, what: str) -> list[tuple[int, Floats]]:
        """Cell and closed ring in um of every `cell` or `nucleus`."""
        return list(zip(self.numbers, self.cells.rings(what), strict=True))


def probed_genes() -> NDArray[np.int64]:
    """Places in `expression.panel()`, rising, of the genes that the instrument has probes for."""
    return np.sort(np.concatenate([panel().of(group)[:many] for group, many in PROBED.items()])).astype(np.int64)


def draw_section(
    pair: Pair, seed: int, *, donor: int = 0, transcripts_per_cell: float = 35.0, planted: Planted | None = None
) -> SectionTruth:
    """Draw the transcripts of a section; the same arguments give the same truth.

    Parameters
    ----------
    donor
        Whose genes: donors differ by the factors that they have in every simulated technology.
    transcripts_per_cell
        In a cell of tumour.
    planted
        Genes that do and do not follow the nuclei's size; all else is the same with and without.
    """
    call_rng, noise_rng = np.random.default_rng([20230701, seed, donor]).spawn(2)
    indices = probed_genes()
    cells = cells_of(pair.tissue)
    calls = draw_calls(call_rng, donor, cells, indices, transcripts_per_cell)
    if planted is not None:
        plant_rng = np.random.default_rng([20260903, seed, donor])
        calls = plant(plant_rng, cells, pair.nucleus_area_um2, calls, planted)
    genes = [panel().genes[index] for index in indices]
    table = _table(noise_rng, cells, calls, np.array(genes, dtype=object), indices)
    counts = count(table, genes, len(cells.centre))
    to_dapi = np.diag([1 / pair.dapi_pixel_size_um, 1 / pair.dapi_pixel_size_um, 1.0])
    centroids = cells.centroids()
    return SectionTruth(
        xy_um=centroids,
        cell_area_um2=cells.areas("cell"),
        nucleus_area_um2=cells.areas("nucleus"),
        nuclei=np.ones(len(centroids), dtype=np.int64),
        counts=counts,
        transcripts=table,
        he_to_dapi=np.asarray(to_dapi @ np.linalg.inv(pair.best_affine()), dtype=np.float64),
        he_xy_px=pair.um_to_he(centroids),
        genes=genes,
        pair=pair,
        cells=cells,
        indices=indices,
    )


def count(transcripts: pd.DataFrame, genes: Sequence[str], cells: int) -> NDArray[np.int64]:
    """The vendor's counts (cells, genes): genes only, of its own quality and in a cell."""
    good = (transcripts["control"] == "") & (transcripts["qv"] >= MIN_QV) & (transcripts["cell"] > 0)
    rows = transcripts["cell"].to_numpy()[good] - 1
    columns = pd.Index(genes).get_indexer(transcripts["feature"].to_numpy()[good])
    return np.bincount(rows * len(genes) + columns, minlength=cells * len(genes)).reshape(cells, len(genes))


def _table(
    rng: np.random.Generator, cells: Cells, calls: Calls, genes: NDArray[np.object_], indices: NDArray[np.int64]
) -> pd.DataFrame:
    """All calls in no order: genes of high and low quality, and controls."""
    many, few = len(calls.gene), round(CONTROL_SHARE * len(calls.gene))
    is_low = rng.random(many) < LOW_QUALITY
    feature = genes[np.searchsorted(indices, calls.gene)]
    any_gene = is_low & (rng.random(many) < WRONG_GENE)
    feature = np.where(any_gene, genes[rng.integers(0, len(genes), many)], feature)
    high = 40 - np.minimum(rng.exponential(6.0, many), 20)
    qv = np.where(is_low, rng.uniform(0, 19.99, many), high)

    kinds = np.array(list(CONTROLS), dtype=object)[rng.integers(0, len(CONTROLS), few)]
    controls_xy = draw_within(rng, cells, rng.integers(0, len(cells.centre), few)).astype(np.float32).astype(np.float64)
    controls_cell, controls_in_nucleus = cells.locate(controls_xy)
    xy = np.concatenate([calls.xy_um, controls_xy])
    cell = np.concatenate([calls.cell, controls_cell])
    table = pd.DataFrame(
        {
            "feature": np.concatenate([feature, np.array([CONTROLS[kind][2] for kind in kinds], dtype=object)]),
            "control": np.concatenate([np.full(many, "", dtype=object), kinds]),
            "x": xy[:, 0],
            "y": xy[:, 1],
            "z": _as_filed(rng.uniform(0, DEPTH_UM, many + few)),
            "qv": _as_filed(np.concatenate([qv, rng.uniform(0, 40, few)])),
            "cell": cell + 1,
            "in_nucleus": np.concatenate([calls.in_nucleus, controls_in_nucleus & (controls_cell >= 0)]),
        }
    )
    return table.iloc[rng.permutation(len(table))].reset_index(drop=True)


def _as_filed(values: NDArray[Any]) -> Floats:
    """Values as float32 keeps them, to two decimals."""
    return np.round(values, 2).astype(np.float32).astype(np.float64)


def wrong_alignment(truth: SectionTruth, how: str) -> SectionTruth:
    """The section with an alignment that is `mirrored`, `turned` by a quarter or `shifted` by 150 um on the H&E."""
    rows, columns = truth.pair.he.shape[:2]
    shift = 150 / truth.pair.he_pixel_size_um
    changed: dict[str, list[list[float]]] = {
        "mirrored": [[-1, 0, columns], [0, 1, 0], [0, 0, 1]],
        "turned": [[0, -1, (columns + rows) / 2], [1, 0, (rows - columns) / 2], [0, 0, 1]],
        "shifted": [[1, 0, shift], [0, 1, shift], [0, 0, 1]],
    }
    return replace(truth, he_to_dapi=truth.he_to_dapi @ np.array(changed[how], dtype=np.float64))


def morphology_name(version: Version) -> str:
    """Where a version of Onboard Analysis files the DAPI picture in focus."""
    major = int(version.software.removeprefix("xenium-").split(".")[0])
    if major < 2:
        return "morphology_focus.ome.tif"
    return f"morphology_focus/{'morphology_focus_0000' if major < 4 else 'ch0000_dapi'}.ome.tif"


def write_section(
    folder: Path,
    truth: SectionTruth,
    version: Version,
    *,
    prefix: str = "",
    alignment: str | None = "matrix",
    he_states_size: bool = True,
    he: Mapping[str, Any] | None = None,
    **others: Any,
) -> Written:
    """All files of a section, by role: those of `write_bundle`, `morphology` and `image`.

    Parameters
    ----------
    alignment
        `matrix`, `keypoints` or None.
    he_states_size
        Whether the H&E says how large its px are.
    he
        More of `write_ome` for the H&E.
    others
        Of `write_bundle`.
    """
    pair = truth.pair
    files = write_bundle(folder, truth, version, prefix=prefix, alignment=alignment, **others)
    where = folder / morphology_name(version)
    files["morphology"] = write_ome(where.with_name(prefix + where.name), pair.dapi, pair.dapi_pixel_size_um)
    size = pair.he_pixel_size_um if he_states_size else None
    files["image"] = write_ome(folder / f"{prefix}he_image.ome.tif", pair.he, size, **{"packed": "jpeg", **(he or {})})
    return files
