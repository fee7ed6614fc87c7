"""What is known of one sample when all its stages are through."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from spotweave.dataset import layout
from spotweave.dataset.donors import donor_contradictions
from spotweave.dataset.harmonise import harmonise
from spotweave.tables import vocabulary

Record = dict[str, Any]
# Stages that run once a nuclei model, which their measures name.
OF_MODELS = ("segment_nuclei", "measure_spots", "match_cells")
MODEL = "model"
Column = Callable[[Mapping[str, str], Mapping[str, Mapping[str, Any]]], Any]


def first_refusal(records: Sequence[Record]) -> Record | None:
    """The refusal that a sample's other stages passed on: the first in the order of the stages.

    Returns
    -------
    dict or None
        `stage`, `reason`, `measured`, `threshold`; None for an accepted sample.
    """
    for record in records:
        if record["status"] == "refused":
            return {key: record[key] for key in ("stage", "reason", "measured", "threshold")}
    return None


def measures(records: Sequence[Record]) -> dict[str, Any]:
    """What every stage measured, by stage; of a stage that ran once a nuclei model, by model within it."""
    measured: dict[str, Any] = {}
    for record in records:
        if record["status"] != "accepted":
            continue
        if record["stage"] in OF_MODELS:
            measured.setdefault(record["stage"], {})[record["measures"][MODEL]] = record["measures"]
        else:
            measured[record["stage"]] = record["measures"]
    return measured


def empty_files(records: Sequence[Record], stored: Iterable[str]) -> set[str]:
    """Of the names of files in a sample's store, those that hold nothing, as their record says why.

    Tables of nuclei models that could not be run, and of biomarkers where there was nothing to correlate.
    """
    measured = measures(records)
    without = {model for model, one in measured.get("segment_nuclei", {}).items() if one["nuclei"] is None}
    no_pairs = measured.get("explore_biomarkers", {}).get("pairs") == 0
    return {
        name
        for name in stored
        if layout.model_of(name) in without or (no_pairs and name.startswith(layout.OF_BIOMARKERS))
    }


def _cell(name: str, default: str | None = None) -> Column:
    return lambda row, _: row.get(name, default)


def _coded(name: str) -> Column:
    """HEST-1k's word for a cell's."""
    terms = vocabulary.load(vocabulary.VOCABULARIES[name]).terms
    words = {term.name: term.cells["hest"] for term in terms}
    return lambda row, _: words.get(row.get(name, ""))


def _measure(stage: str, name: str) -> Column:
    return lambda _, measured: measured[stage].get(name)


def _measured_if(stage: str, name: str) -> Column:
    """A measure of a stage that only some technologies have; lists and mappings as text."""
    return lambda _, measured: _text(measured.get(stage, {}).get(name))


def _of_first_model(stage: str, name: str) -> Column:
    """A measure of a stage that runs once a nuclei model: of the first model of the configuration."""

    def column(_: Mapping[str, str], measured: Mapping[str, Mapping[str, Any]]) -> Any:
        by_model = list(measured.get(stage, {}).values())
        return _text(by_model[0].get(name)) if by_model else None

    return column


def _text(value: Any) -> Any:
    if isinstance(value, Mapping):
        return "; ".join(f"{key}: {number}" for key, number in value.items())
    return "; ".join(map(str, value)) if isinstance(value, list) else value


def _conserved(name: str) -> Column:
    """Where the counts of the dataset's units went."""
    return lambda _, measured: _text(measured["assemble_sample"].get("conservation", {}).get(name))


def _spot_pitch_um(_: Mapping[str, str], measured: Mapping[str, Mapping[str, Any]]) -> float | None:
    """um between the spots of the dataset: of the grid where they are pooled, else of the array."""
    stage = "assemble_sample" if "pool_sample" in measured else "align_array"
    found: float | None = measured[stage].get("spot_pitch_um")
    return found


# HEST-1k's 28 columns by their names and in their order, then ours.
COLUMNS: dict[str, Column] = {
    "dataset_title": _cell("dataset_title"),
    "id": _cell("sample_id"),
    "image_filename": lambda row, _: f"{row['sample_id']}.tif",
    "organ": _cell("organ"),
    "disease_state": _coded("disease_state"),
    "oncotree_code": _cell("oncotree_code"),
    "species": _cell("species"),
    "patient": _cell("donor"),
    "st_technology": _cell("technology"),
    "data_publication_date": _cell("publication_date"),
    "license": _cell("licence", "unspecified"),
    "study_link": _cell("study_link"),
    "download_page_link1": _cell("download_page"),
    "inter_spot_dist": _spot_pitch_um,
    "spot_diameter": _measure("assemble_sample", "spot_diameter_um"),
    "spots_under_tissue": _measure("assemble_sample", "spots_in_tissue"),
    "preservation_method": _coded("preservation"),
    "nb_genes": _measure("assemble_sample", "genes"),
    "treatment_comment": _cell("treatment_comment"),
    "pixel_size_um_embedded": _measure("align_array", "pixel_size_embedded_um"),
    "pixel_size_um_estimated": _measure("align_array", "pixel_size_um"),
    "magnification": _measure("build_pyramid", "magnification"),
    "fullres_px_width": _measure("build_pyramid", "width_px"),
    "fullres_px_height": _measure("build_pyramid", "height_px"),
    "tissue": _cell("tissue"),
    "disease_comment": _cell("disease_comment"),
    "subseries": _cell("subseries"),
    "hest_version_added": lambda row, measured: None,
    "donor": _cell("donor"),
    "cohort": _cell("cohort"),
    "source": _cell("source"),
    "licence_spdx": _cell("licence", "unspecified"),
    "pixel_size_um_stated": _measure("align_array", "pixel_size_stated_um"),
    "pixel_size_se_um": _measure("align_array", "pixel_size_se_um"),
    "pixel_size_anisotropy": _measure("align_array", "anisotropy"),
    "pixel_size_from": _measure("align_array", "pixel_size_from"),
    "pixel_size_flagged": _measure("align_array", "pixel_size_flagged"),
    "alignment_residual_um": _measure("align_array", "residual_um"),
    "positions_from": _measure("align_array", "positions_from"),
    "vendor_positions_from": _measure("align_array", "vendor_positions_from"),
    "frame_offset_um": _measure("align_array", "frame_offset_um"),
    "frame_offset_p95_um": _measure("align_array", "frame_offset_p95_um"),
    "frame_disagrees": _measure("align_array", "frame_disagrees"),
    "array_mirrored": _measure("align_array", "mirrored"),
    "spots_dropped_from_tissue": _measure("align_array", "spots_dropped_from_tissue"),
    "spots_off_lattice": _measure("align_array", "spots_off_lattice"),
    "edge_auc": _measure("align_array", "edge_auc"),
    "counts_rho": _measure("align_array", "counts_rho"),
    "placement_rival": _measure("align_array", "rival"),
    "placement_rival_gain": _measure("align_array", "rival_gain"),
    "placement_flags": lambda row, measured: "; ".join(measured["align_array"].get("flags", [])),
    "data_flags": lambda row, measured: "; ".join(measured.get("read_expression", {}).get("data_flags", [])),
    "tissue_area_mm2": _measure("segment_tissue", "tissue_area_mm2"),
    "spots_on_tissue": _measure("segment_tissue", "spots_selected_inside"),
    "spots_off_tissue": _measure("segment_tissue", "spots_unselected_outside"),
    "tissue_flagged": _measure("segment_tissue", "tissue_flagged"),
    "glass_share": _measure("segment_tissue", "glass_share"),
    "blacked_out_share": _measure("segment_tissue", "blacked_out_share"),
    "glass_flagged": _measure("segment_tissue", "glass_flagged"),
    **{
        name: _measure("segment_tissue", name)
        for name in ("stain_strength", "pale_flagged", "pen_share", "fold_share", "blur_share", "marks_flagged")
    },
    "picture_note": _measure("build_pyramid", "picture_note"),
    "tissue_fraction_mean": _measure("assemble_sample", "tissue_fraction_mean"),
    "counts_in": _conserved("counts_in"),
    "counts_out": _conserved("counts_out"),
    "counts_excluded": _conserved("counts_dropped"),
    "pooled_by": _measured_if("assemble_sample", "pooled_by"),
    "pool_preset": _measured_if("assemble_sample", "pool_preset"),
    "spots_partial": _measured_if("assemble_sample", "spots_partial"),
    "control_rate": _measured_if("pool_sample", "control_rate"),
    "low_quality_rate": _measured_if("pool_sample", "low_quality_rate"),
    "row_stripes": _measured_if("read_expression", "row_stripes"),
    "column_stripes": _measured_if("read_expression", "column_stripes"),
    "counts_offset_um": _measured_if("align_array", "counts_offset_um"),
    "registered_from": _measured_if("register_sample", "chosen"),
    "registration_error_um": _measured_if("register_sample", "error_um"),
    "registration_error_p95_um": _measured_if("register_sample", "error_p95_um"),
    "registration_non_rigid": _measured_if("register_sample", "has_field"),
    "registration_gain": _measured_if("register_sample", "gain"),
    "registration_matched_share": _measured_if("register_sample", "matched_share"),
    "registration_flags": _measured_if("register_sample", "flags"),
    "patches": _measure("extract_patches", "patches"),
    "patches_padded": _measure("extract_patches", "patches_padded"),
    "patches_quality_median": _measure("extract_patches", "quality_median"),
    "patches_focus_median": _measure("extract_patches", "focus_median"),
    "patches_low_quality_share": _measure("extract_patches", "low_quality_share"),
    "nuclei_model": _of_first_model("segment_nuclei", MODEL),
    "nuclei": _of_first_model("segment_nuclei", "nuclei"),
    "nuclei_per_mm2": _of_first_model("segment_nuclei", "nuclei_per_mm2"),
    "nuclei_class_shares": _of_first_model("segment_nuclei", "class_shares"),
    "nuclei_um_per_px": _of_first_model("segment_nuclei", "um_per_px"),
    "nuclei_note": _of_first_model("segment_nuclei", "note"),
    "nuclei_matched_share": _of_first_model("match_cells", "kept_share"),
    "nuclei_unique_share": _of_first_model("match_cells", "unique_share"),
    "nuclei_area_r": _of_first_model("match_cells", "area_r"),
    "biomarkers_pairs": _measured_if("explore_biomarkers", "pairs"),
    "biomarkers_significant": _measured_if("explore_biomarkers", "significant"),
    "biomarkers_note": _measured_if("explore_biomarkers", "note"),
}


# What harmonising adds to an accepted sample's line; lists are joined.
HARMONISED = (
    "species_ncbitaxon",
    "organ_uberon",
    "tissue_uberon",
    "tissue_label",
    "assay_efo",
    "assay_label",
    "oncotree_name",
    "oncotree_tissue",
    "licence_commercial",
    "licence_derivatives",
    "licence_share_alike",
    "licence_redistribution",
    "completeness",
    "contradictions",
)

FINDING_COLUMNS = ("sample_id", "cohort", "donor", "code", "finding")


def columns() -> list[str]:
    """Columns of the released table."""
    return [*COLUMNS, *HARMONISED]


def table_row(row: Mapping[str, str], measured: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """An accepted sample's line in the released table.

    Parameters
    ----------
    row
        The cohort table's row, with `cohort`.
    measured
        What the stages measured, by stage.
    """
    found = harmonise(row, measured)
    joined = {name: "; ".join(found[name]) if isinstance(found[name], list) else found[name] for name in HARMONISED}
    return {**{name: column(row, measured) for name, column in COLUMNS.items()}, **joined}


def sample_metadata(sample: str, row: Mapping[str, str], records: Sequence[Record]) -> dict[str, Any]:
    """The content of a sample's `metadata.json`.

    Parameters
    ----------
    row
        The cohort table's row, with `cohort`.
    records
        Of its stages, in their order.

    Returns
    -------
    dict
        `sample_id`, `status`, `refusal`, `row`, `measured`, `harmonised`, `table`; and, of an accepted sample, every
        column of the table at the top as well, where readers of HEST-1k look for them.
    """
    refusal, measured = first_refusal(records), measures(records)
    line = None if refusal else table_row(row, measured)
    return {
        **(line or {}),
        "sample_id": sample,
        "status": "refused" if refusal else "accepted",
        "refusal": refusal,
        "row": row,
        "measured": measured,
        "harmonised": harmonise(row, measured),
        "table": line,
    }


def metadata_findings(rows: Mapping[str, Mapping[str, str]]) -> list[dict[str, str]]:
    """What samples say against each other: rows of `metadata_findings.csv`, by sample, in a fixed order.

    Parameters
    ----------
    rows
        Sample -> the cohort table's row, with `cohort`; of all cohorts, as a donor may be in several.
    """
    return [
        {
            "sample_id": sample,
            "cohort": rows[sample].get("cohort", ""),
            "donor": rows[sample].get("donor", ""),
            "code": code,
            "finding": text,
        }
        for sample, found in sorted(donor_contradictions(rows).items())
        for code, _, text in (one.partition(": ") for one in found)
    ]
