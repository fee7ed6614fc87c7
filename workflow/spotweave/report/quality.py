"""The quality page of the report: accepted samples with their numbers, refused ones with their reasons."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import jinja2
import pandas as pd

from spotweave.report.style import STYLE

SHOWN = {
    "id": "sample",
    "donor": "donor",
    "st_technology": "technology",
    "spots_under_tissue": "spots",
    "nb_genes": "genes",
    "pixel_size_um_estimated": "um/px",
    "pixel_size_anisotropy": "anisotropy",
    "alignment_residual_um": "residual, um",
    "positions_from": "placed by",
    "frame_offset_um": "vendor off the frame, um",
    "frame_offset_p95_um": "95th percentile, um",
    "edge_auc": "tissue edge",
    "placement_flags": "flags",
    "data_flags": "files against each other",
    "magnification": "magnification",
    "tissue_area_mm2": "tissue, mm²",
    "spots_on_tissue": "spots on tissue",
    "spots_off_tissue": "others off it",
    "tissue_flagged": "tissue flagged",
    "glass_flagged": "no glass seen",
    "pale_flagged": "pale",
    "marks_flagged": "pen, folds or blur",
    "tissue_fraction_mean": "spot area on tissue",
    "patches_padded": "padded patches",
    "patches_low_quality_share": "patches of low quality",
    "nuclei_model": "nuclei by",
    "nuclei": "nuclei",
    "nuclei_per_mm2": "nuclei a mm²",
    "nuclei_note": "no nuclei, as",
    "nuclei_matched_share": "matched with cells",
    "biomarkers_significant": "pairs of gene and shape",
}
PAGE = jinja2.Environment(autoescape=True).from_string(
    '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Samples</title><style>{{ style|safe }}</style>'
    "</head><body><h2>{{ accepted|length }} accepted</h2>{{ accepted_table|safe }}"
    "<h2>{{ refused|length }} in quarantine</h2>{{ refused_table|safe }}</body></html>\n"
)


def quality_page(samples: Sequence[Mapping[str, Any]]) -> str:
    """HTML of the page.

    Parameters
    ----------
    samples
        The cohort shards' entries: `sample_id`, `refusal` (or None), `table` (the released row, or None).
    """
    accepted = [sample["table"] for sample in samples if sample["refusal"] is None]
    refused = [{"sample": s["sample_id"], **s["refusal"]} for s in samples if s["refusal"] is not None]
    shown = pd.DataFrame(accepted, columns=list(SHOWN)).rename(columns=SHOWN)
    quarantine = pd.DataFrame(refused, columns=["sample", "stage", "reason", "measured", "threshold"])
    html = {"index": False, "border": 0, "na_rep": "", "float_format": "{:.4g}".format, "escape": True}
    return PAGE.render(
        style=STYLE,
        accepted=accepted,
        refused=refused,
        accepted_table=shown.to_html(**html) if accepted else "",
        refused_table=quarantine.to_html(**html) if refused else "",
    )
