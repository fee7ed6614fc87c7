"""A sample's metadata on vocabularies, how complete they are, and what in them contradicts what.

The words of the row stay as they are; identifiers stand beside them. A contradiction refuses nothing: it is listed in
the sample's metadata and in the released table, each with a code, so that a person can settle it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from spotweave import vocabulary

Row = Mapping[str, str]
Measured = Mapping[str, Mapping[str, Any]]

# What a user of the dataset needs, and how much: the weights of the completeness score add up to 1.
WEIGHTS = {
    "species": 0.10,
    "organ": 0.10,
    "tissue": 0.05,
    "disease_state": 0.10,
    "oncotree_code": 0.05,
    "preservation": 0.10,
    "donor": 0.15,
    "licence": 0.15,
    "study_link": 0.10,
    "publication_date": 0.05,
    "pixel_size_um": 0.05,
}
LARGEST_DEVIATION = 0.05
DEFAULT_TAGS_UM = {"72 dpi": 0.3528, "96 dpi": 0.2646, "72 dpi in um": 352.8, "96 dpi in um": 264.6}
COARSEST_UM = 1.15
FROZEN = ("fresh_frozen", "snap_frozen", "flash_frozen", "fixed_frozen")


def harmonise(row: Row, measured: Measured) -> dict[str, Any]:
    """Identifiers, completeness and contradictions of one sample.

    Parameters
    ----------
    row
        The cohort table's.
    measured
        Stage -> measures, as far as the sample came.

    Returns
    -------
    dict
        `species_ncbitaxon`, `organ_uberon`, `tissue_uberon`, `assay_efo`, `oncotree_name`, `licence_commercial`,
        `licence_derivatives` (str or None), `completeness` (0 to 1), `missing` and `contradictions` (lists of str).
    """
    licence = vocabulary.load("licences").find(row.get("licence", "unspecified"))
    tissue = _id("organs", row.get("tissue"))
    missing = [name for name in WEIGHTS if not _is_given(row, name)]
    return {
        "species_ncbitaxon": _id("species", row.get("species")),
        "organ_uberon": _id("organs", row.get("organ")),
        "tissue_uberon": tissue,
        "assay_efo": assay(row, measured),
        "oncotree_name": _cell("oncotree", row.get("oncotree_code"), "name"),
        "licence_commercial": (licence.cells["commercial"] or None) if licence else None,
        "licence_derivatives": (licence.cells["derivatives"] or None) if licence else None,
        "completeness": round(1 - sum(WEIGHTS[name] for name in missing), 3),
        "missing": missing,
        "contradictions": [f"{code}: {text}" for check in CHECKS for code, text in check(row, measured)],
    }


def _is_given(row: Row, name: str) -> bool:
    """Whether a field is known; tissue without cancer needs no OncoTree code, and an unspecified licence is none."""
    if name == "oncotree_code" and row.get("disease_state") not in (None, "cancer"):
        return True
    return row.get(name, "") not in ("", "unspecified")


def _id(name: str, text: str | None) -> str | None:
    term = vocabulary.load(name).find(text) if text else None
    return (term.id or None) if term else None


def _cell(name: str, text: str | None, column: str) -> str | None:
    term = vocabulary.load(name).find(text) if text else None
    return (term.cells[column] or None) if term else None


def assay(row: Row, measured: Measured) -> str | None:
    """EFO identifier of the assay, as far as slide and instrument are known; None where none is certain."""
    slide = measured.get("read_expression", {}).get("capture_area", "")
    found = measured.get("fetch_sample", {}).get("found", {})
    is_cytassist = "yes" if "cytassist_image" in found or "cytassist" in row.get("accession", "").lower() else ""
    best: tuple[int, str] = (-1, "")
    for term in vocabulary.load("assays").terms:
        wanted = {"slide": (term.cells["slide"], slide), "cytassist": (term.cells["cytassist"], is_cytassist)}
        if term.cells["technology"] != row.get("technology") or term.cells["notes"].endswith("not assigned"):
            continue
        if all(not asked or asked == given for asked, given in wanted.values()):
            best = max(best, (sum(bool(asked) for asked, _ in wanted.values()), term.id))
    return best[1] or None


Check = Callable[[Row, Measured], Iterator[tuple[str, str]]]


def _diagnosis(row: Row, measured: Measured) -> Iterator[tuple[str, str]]:
    code, state, organ = row.get("oncotree_code"), row.get("disease_state"), row.get("organ")
    if code and state == "healthy":
        yield "code-of-healthy", f"OncoTree code {code} on healthy tissue"
    if state == "cancer" and not code:
        yield "cancer-without-code", "cancer without an OncoTree code"
    term = vocabulary.load("oncotree").find(code) if code else None
    if code and not term:
        yield "unknown-code", f"{code} is not in the list of OncoTree codes kept here; check it on oncotree.info"
    if term and organ and organ not in term.listed("organs"):
        yield (
            "code-and-organ",
            f"{code} ({term.cells['name']}) in {organ}; usual are {', '.join(term.listed('organs'))}",
        )
    text = _free_text(row)
    if code == "SCCRCC" and "sarcomatoid" not in text and re.search(r"clear cell|ccrcc", text):
        yield "sarcomatoid-or-clear-cell", "SCCRCC is sarcomatoid renal carcinoma; clear cell carcinoma is CCRCC"
    if code == "IDC" and re.search(r"\bdcis\b|in situ", text):
        yield "invasive-or-in-situ", "IDC is invasive; the comments speak of carcinoma in situ"


def _free_text(row: Row) -> str:
    names = ("dataset_title", "disease_comment", "treatment_comment", "notes", "subseries", "accession")
    return " ".join(row.get(name, "") for name in names).lower()


def _preservation(row: Row, measured: Measured) -> Iterator[tuple[str, str]]:
    kept, text = row.get("preservation"), _free_text(row).replace("_", " ")
    if kept in FROZEN and re.search(r"\bffpe\b|paraffin", text):
        yield "frozen-or-paraffin", f"{kept}, but the title or a comment says FFPE"
    if kept == "ffpe" and re.search(r"fresh.?frozen|snap.?frozen", text):
        yield "frozen-or-paraffin", "ffpe, but the title or a comment says frozen"


def _scale(row: Row, measured: Measured) -> Iterator[tuple[str, str]]:
    align = measured.get("align_array", {})
    size_um = align.get("pixel_size_um")
    for name, given in (
        ("stated", align.get("pixel_size_stated_um")),
        ("embedded", align.get("pixel_size_embedded_um")),
    ):
        if not given:
            continue
        tag = next((tag for tag, value in DEFAULT_TAGS_UM.items() if abs(given / value - 1) < 0.001), None)
        if size_um and abs(given / size_um - 1) > LARGEST_DEVIATION:
            why = ""
            if tag:
                why = f"; it is the {tag} of a picture that was never measured"
            elif 0.9 < 1000 * given / size_um < 1.1 or 0.9 < given / size_um / 1000 < 1.1:
                why = "; a factor of 1000 between mm and um"
            yield f"pixel-size-{name}", f"{given:g} um/px {name}, {size_um:g} measured{why}"
    stated = row.get("pixel_size_um")
    if stated and not size_um and float(stated) > COARSEST_UM:
        yield "too-coarse", f"{float(stated):g} um/px stated, beyond {COARSEST_UM:g}"


def _array(row: Row, measured: Measured) -> Iterator[tuple[str, str]]:
    pitch, diameter = row.get("array_pitch_x_um"), row.get("spot_diameter_um")
    if pitch and diameter and float(diameter) >= float(pitch):
        yield (
            "spots-overlap",
            f"spots of {float(diameter):g} um, {float(pitch):g} um apart, would overlap; are the two swapped?",
        )


def _species(row: Row, measured: Measured) -> Iterator[tuple[str, str]]:
    genes = measured.get("read_expression", {}).get("gene_species", {})
    expected = {"Homo sapiens": "human", "Mus musculus": "mouse"}.get(row.get("species", ""))
    other = {"human": "mouse", "mouse": "human"}.get(expected or "")
    if expected and other and genes.get(other, 0) > 0.5 > genes.get(expected, 0):
        yield "species-and-genes", f"{row['species']}, but {genes[other]:.0%} of the gene names are of a {other}"


CHECKS: tuple[Check, ...] = (_diagnosis, _preservation, _scale, _array, _species)
