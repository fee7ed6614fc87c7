"""What in a sample's metadata contradicts what.

A contradiction refuses nothing: it is listed in the sample's metadata and in the released table, each with a code, so
that a person can settle it. What is absent contradicts nothing. Every check is of something found in a published table
or deposit (docs/metadata.md).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

from spotweave.dataset.evidence import (
    Measured,
    Row,
    capture_area,
    free_text,
    name_of,
    number_in,
    organs_of,
    serial_prefix,
    term_of,
    terms_of,
    tissue_of_code,
)
from spotweave.pictures.magnification import magnification
from spotweave.pictures.pixel_sizes import COARSEST_UM, Source, explain, explain_value, is_agreed, software_default
from spotweave.tables import vocabulary
from spotweave.visium.spacing import SPOT_DIAMETER_UM, SPOT_DISTANCE_UM

SAME_RATIO = 0.02  # of pitches and diameters
FROZEN = tuple(word for word in vocabulary.words_of("preservation") if word.endswith("_frozen"))
# Pitch and spot diameter, um, of the arrays that were sold: 1k and 2k arrays of 2016-2019, Visium.
ARRAYS_UM = {
    "Spatial Transcriptomics": ((200.0, 100.0), (150.0, 110.0)),
    "Visium": ((SPOT_DISTANCE_UM, SPOT_DIAMETER_UM),),
}
OTHER_GENOME_SHARE = 0.01
Check = Callable[[Row, Measured], Iterator[tuple[str, str]]]


def _diagnosis(row: Row, measured: Measured) -> Iterator[tuple[str, str]]:
    given, state = row.get("oncotree_code"), row.get("disease_state")
    if given and state == "healthy":
        yield "code-of-healthy", f"OncoTree code {given} on healthy tissue"
    if state == "cancer" and not given:
        yield "cancer-without-code", "cancer without an OncoTree code"
    if not given:
        return
    code = term_of("oncotree", given)
    if not code:
        yield "unknown-code", f"{given} is no OncoTree code of version 2026-05-21"
        return
    if code.cells["superseded_by"]:
        yield "superseded-code", f"{given} ({code.label}) of an earlier OncoTree; now {code.cells['superseded_by']}"
    if row.get("species") not in (None, "Homo sapiens"):
        yield "code-of-an-animal", f"OncoTree classifies human cancers, and {given} is on {row['species']}"
    text = free_text(row)
    if given == "SCCRCC" and "sarcomatoid" not in text and re.search(r"clear.cell|ccrcc", text):
        yield "sarcomatoid-or-clear-cell", "SCCRCC is sarcomatoid renal carcinoma; clear cell carcinoma is CCRCC"
    if given == "IDC" and re.search(r"\bdcis\b|in situ carcinoma|carcinoma in situ", text):
        yield "invasive-or-in-situ", "IDC is invasive; the source speaks of carcinoma in situ (DCIS)"


def _site(row: Row, measured: Measured) -> Iterator[tuple[str, str]]:
    """Code, organ and tissue against each other; what the source calls a metastasis may be anywhere."""
    organs, tissues = organs_of(row), terms_of("organs", row.get("tissue"))
    names = {term.name for term in organs}
    for tissue in tissues:
        filed = {tissue.cells["organ"] or tissue.name, *tissue.listed("also")}
        if names and not names & filed:
            yield "organ-and-tissue", f"{tissue.name} is of {' or '.join(sorted(filed))}, not of {row['organ']}"
    code = term_of("oncotree", row.get("oncotree_code"))
    if not code:
        return
    usual = tissue_of_code(code).listed("organs")
    allowed = {*names, *(also for term in (*organs, *tissues) for also in term.listed("also"))}
    if names and usual and not allowed & set(usual) and not re.search(r"metasta|secondary", free_text(row)):
        better = [
            other.name
            for other in vocabulary.load("oncotree").terms
            if other.label.startswith(f"{code.label} of") and names & set(tissue_of_code(other).listed("organs"))
        ]
        hint = f"; of this organ is {' or '.join(better)}" if better else ""
        yield "code-and-organ", f"{code.name} ({code.label}) is of {' or '.join(usual)}, not of {row['organ']}{hint}"
    part = {"READ": "Rectum", "COAD": "Colon"}.get(code.name)
    other_part = {"READ": "colon", "COAD": "rectum"}.get(code.name)
    if part and any((term.cells["label"] or "").endswith(str(other_part)) for term in tissues):
        yield "code-and-tissue", f"{code.name} ({code.label}) in {row['tissue']}"


def _preservation(row: Row, measured: Measured) -> Iterator[tuple[str, str]]:
    kept = name_of("preservation", row.get("preservation"))
    run = measured.get("read_expression", {}).get("run") or {}
    for where, text in (
        ("a title or comment", free_text(row)),
        ("the instrument's manifest", str(run.get("preservation_method", "")).lower().replace("_", " ")),
    ):
        is_paraffin = bool(re.search(r"\bffpe\b|paraffin", text))
        is_frozen = bool(re.search(r"(?:fresh|snap|flash|fixed).?frozen|\bff\b", text))
        if kept in FROZEN and is_paraffin and not is_frozen:
            yield "frozen-or-paraffin", f"{kept}, but {where} says FFPE"
        if kept == "ffpe" and is_frozen and not is_paraffin:
            yield "frozen-or-paraffin", f"ffpe, but {where} says frozen"


def _measured_um(measured: Measured) -> float | None:
    """um/px of the H&E, by the spots, the bins, or the alignment of the cells."""
    reading = measured.get("read_expression", {})
    sizes = (
        measured.get("align_array", {}).get("pixel_size_um"),
        reading.get("pixel_size_um_fitted"),
        reading.get("he_pixel_size_um"),
    )
    return next((size for size in sizes if size), None)


def _scale(row: Row, measured: Measured) -> Iterator[tuple[str, str]]:
    align, size_um = measured.get("align_array", {}), _measured_um(measured)
    stated_um = align.get("pixel_size_stated_um") or number_in(row, "pixel_size_um", "pixel_size_um_estimated")
    embedded_um = align.get("pixel_size_embedded_um") or number_in(row, "pixel_size_um_embedded")
    pairs: tuple[tuple[str, Source, float | None], ...] = (
        ("stated", "stated", stated_um),
        ("embedded", "tag", embedded_um),
    )
    for name, source, given_um in pairs:
        known_um, known = (size_um, "measured") if size_um or name == "stated" else (stated_um, "stated")
        by: Source = "lattice" if known == "measured" else "stated"
        if not given_um or (known_um and is_agreed(source, given_um, by, known_um)):
            continue
        default = software_default(given_um)
        if known_um:
            why = explain_value(given_um) or explain(given_um / known_um)
            yield f"pixel-size-{name}", f"{given_um:g} um/px {name}, {known_um:g} {known}{why and f'; {why}'}"
        elif default:
            yield (
                "default-resolution",
                f"{given_um:g} um/px {name} is the {default} that software writes when it knows none",
            )
    best_um = size_um or stated_um
    if best_um and best_um > COARSEST_UM:
        yield "too-coarse", f"{best_um:g} um/px {'measured' if size_um else 'stated'}, beyond {COARSEST_UM:g}"
    computed = magnification(best_um) if best_um else None
    if best_um and row.get("magnification") and row["magnification"] != computed:
        yield "magnification", f"{row['magnification']} stated, {computed or 'none'} by {best_um:g} um/px"


def _array(row: Row, measured: Measured) -> Iterator[tuple[str, str]]:
    pitch_um, diameter_um = _pitch_um(row, measured), _diameter_um(row, measured)
    if not pitch_um or not diameter_um:
        return
    pair = f"spots of {diameter_um:g} um, {pitch_um:g} um apart"
    if diameter_um >= pitch_um:
        yield "spots-overlap", f"{pair}, would overlap; are the two swapped?"
        return
    arrays = ARRAYS_UM.get(row.get("technology", ""), ())
    if arrays and not any(
        abs(pitch_um / pitch - 1) < SAME_RATIO and abs(diameter_um / diameter - 1) < SAME_RATIO
        for pitch, diameter in arrays
    ):
        known = " or ".join(f"{diameter:g} of {pitch:g}" for pitch, diameter in arrays)
        yield "spots-and-technology", f"{pair}: no array of {row['technology']} ({known} um)"


def _pitch_um(row: Row, measured: Measured) -> float | None:
    """Distance of neighbouring spots; Visium's columns are half a pitch apart and its rows are shifted by one.

    None where they are pooled: squares side by side are no array's.
    """
    if "pool_sample" in measured:
        return None
    found = measured.get("align_array", {}).get("spot_pitch_um") or number_in(row, "inter_spot_dist")
    x_um, y_um = number_in(row, "array_pitch_x_um"), number_in(row, "array_pitch_y_um")
    if found or not x_um:
        return found
    return 2 * x_um if row.get("technology") == "Visium" else min(x_um, y_um or x_um)


def _diameter_um(row: Row, measured: Measured) -> float | None:
    given = number_in(row, "spot_diameter_um", "spot_diameter")
    return given or measured.get("assemble_sample", {}).get("spot_diameter_um")


def _slide(row: Row, measured: Measured) -> Iterator[tuple[str, str]]:
    serial, area = serial_prefix(row, measured), capture_area(row, measured)
    if not serial:
        return
    for term in vocabulary.load("assays").terms:
        if serial not in term.listed("serial_prefixes"):
            continue
        if term.cells["technology"] != row.get("technology"):
            yield "slide-and-technology", f"slides {serial} are of {term.name}, not of {row.get('technology')}"
        elif area and term.cells["slide"] and area != term.cells["slide"]:
            yield "slide-and-area", f"slides {serial} are of {term.name}, but the places are those of {area}"


def _species(row: Row, measured: Measured) -> Iterator[tuple[str, str]]:
    reading = measured.get("read_expression", {})
    species = term_of("species", row.get("species"))
    if not species:
        return
    genes = reading.get("gene_species", {})
    other = {"Homo sapiens": "mouse", "Mus musculus": "human"}.get(species.name)
    if other and genes.get(other, 0) > 0.5 > genes.get("human" if other == "mouse" else "mouse", 0):
        yield "species-and-genes", f"{species.name}, but {genes[other]:.0%} of the gene names are of a {other}"
    panel = term_of("species", (reading.get("panel") or {}).get("organism"))
    if panel and panel != species:
        yield "species-and-panel", f"{species.name}, but the gene panel is of {panel.name}"
    counts = reading.get("counts_by_genome", {})
    for genome in sorted(counts):
        found, share = term_of("species", genome), counts[genome] / max(sum(counts.values()), 1)
        if found and found != species and share > OTHER_GENOME_SHARE:
            yield (
                "two-species",
                f"{share:.0%} of the counts are of {found.name}: a graft, or two species in one section",
            )


def _genes(row: Row, measured: Measured) -> Iterator[tuple[str, str]]:
    reading = measured.get("read_expression", {})
    genes, controls = reading.get("genes"), sum((reading.get("controls_left_out") or {}).values())
    stated = number_in(row, "nb_genes")
    if stated and genes and controls and stated == genes + controls:
        yield "genes-with-controls", f"{stated:.0f} genes stated: {genes} genes and {controls} controls"
    panel = reading.get("panel") or {}
    targets = sum(int(panel.get(name, 0)) for name in ("targets_predesigned", "targets_custom"))
    if genes and targets and genes != targets:
        yield "genes-and-panel", f"{genes} genes in the matrix, {targets} in the panel"


CHECKS: tuple[Check, ...] = (_diagnosis, _site, _preservation, _scale, _array, _slide, _species, _genes)
