"""Every layout of Xenium bundles, by version of the instrument's software and by what deposits make of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from spotweave.simulate.count_files import Written
from spotweave.simulate.xenium import V1_0, V1_3, V2_0, V2_0_EARLY, V3_0, V4_0, Truth, Version, cell_names
from spotweave.simulate.xenium_files import write_bundle


@dataclass(frozen=True)
class Variant:
    """A layout: `write(folder, truth)` returns the files by role."""

    description: str
    version: Version
    options: dict[str, Any] = field(default_factory=dict)
    folder: str = ""

    def write(self, folder: Path, truth: Truth) -> Written:
        """Write the files, by role."""
        return write_bundle(folder / self.folder, truth, self.version, **self.options)

    def names(self, truth: Truth) -> list[str]:
        """Names of the cells, in the order they are filed."""
        return [str(name) for name in cell_names(truth.numbers, self.version)]


VARIANTS: dict[str, Variant] = {
    "xoa_1_0": Variant("XOA 1.0: whole numbers as ids, names of features as bytes, parquet, HDF5", V1_0),
    "xoa_1_0_text": Variant(
        "XOA 1.0 as packed text, Market Exchange", V1_0, {"tables": ".csv.gz", "counts": "mex"}, "outs"
    ),
    "xoa_1_0_genes_tsv": Variant(
        "XOA 1.0, gene list of two columns: controls known by name only", V1_0, {"counts": "mex without types"}
    ),
    "xoa_1_3": Variant("XOA 1.3: ids as text, UNASSIGNED", V1_3),
    "xoa_1_3_text": Variant("XOA 1.3 as unpacked text", V1_3, {"tables": ".csv", "counts": "mex plain"}),
    "xoa_2_0": Variant("XOA 2.0: label_id of nuclei, codeword_index, segmentation_method", V2_0),
    "xoa_2_0_early": Variant("early XOA 2.0: no label_id, nuclei of one cell run together", V2_0_EARLY),
    "xoa_2_0_geo": Variant(
        "XOA 2.0 as GEO has it: prefixed, everything packed",
        V2_0,
        {"tables": ".csv.gz", "counts": "h5.gz", "prefix": "GSM0000001_A1_"},
    ),
    "xoa_3_0": Variant("XOA 3.0: is_gene and codeword_category", V3_0, {"alignment": "keypoints"}),
    "xoa_3_0_text": Variant("XOA 3.0 as packed text under outs/", V3_0, {"tables": ".csv.gz", "counts": "mex"}, "outs"),
    "xoa_4_0": Variant("XOA 4.0 under outs/", V4_0, {}, "outs"),
    "no_alignment": Variant("no alignment: the H&E is on the grid of DAPI", V1_3, {"alignment": None}),
    "segmented_again": Variant("segmented again by Xenium Ranger", V2_0, {"ranger": "xeniumranger-3.1.0.4"}),
    "segmented_again_old": Variant(
        "bundle of XOA 1.0 segmented again by Xenium Ranger 1.7: ids as text", V1_3, {"ranger": "1.7.0.2"}
    ),
}
