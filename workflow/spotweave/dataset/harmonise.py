"""A sample's metadata on vocabularies, and how complete they are.

The words of the row stay as they are; identifiers stand beside them.
"""

from __future__ import annotations

from typing import Any

from spotweave.dataset.contradictions import CHECKS
from spotweave.dataset.evidence import (
    Measured,
    Row,
    capture_area,
    cytassist,
    name_of,
    organs_of,
    serial_prefix,
    term_of,
    terms_of,
    tissue_of_code,
)
from spotweave.tables import vocabulary
from spotweave.tables.vocabulary import Term

Harmonised = dict[str, Any]
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


def harmonise(row: Row, measured: Measured) -> Harmonised:
    """Identifiers, completeness and contradictions of one sample.

    Parameters
    ----------
    row
        The cohort table's. Columns of HEST-1k's table (`magnification`, `nb_genes`, `pixel_size_um_embedded`) are
        looked at where a row has them.
    measured
        Stage -> measures, as far as the sample came.

    Returns
    -------
    dict
        Identifiers and labels, None where none is certain: `species_ncbitaxon`, `organ`, `organ_uberon`,
        `tissue_uberon`, `tissue_label`, `assay_efo`, `assay_label`, `oncotree_code`, `oncotree_name`,
        `oncotree_tissue`, `disease_state`, `preservation`, `licence_spdx`; several (tissue microarrays) are joined by
        `; `. What the licence allows, `yes`, `no` or None: `licence_commercial`, `licence_derivatives`,
        `licence_share_alike`, `licence_redistribution`. `completeness` (0 to 1), `missing` (columns that lack),
        `contradictions` (each `code: text`).
    """
    licence = vocabulary.licence(row.get("licence", ""))
    allowed = licence.term.cells if licence else {}
    code = term_of("oncotree", row.get("oncotree_code"))
    tissue, slide = term_of("organs", row.get("tissue")), assay(row, measured)
    missing = [name for name in WEIGHTS if not _is_given(row, name)]
    return {
        "species_ncbitaxon": _ids(terms_of("species", row.get("species"))),
        "organ": "/".join(term.name for term in organs_of(row)) or None,
        "organ_uberon": _ids(organs_of(row)),
        "tissue_uberon": _ids(terms_of("organs", row.get("tissue"))),
        "tissue_label": (tissue.cells["label"] or None) if tissue else None,
        "assay_efo": slide.id or None if slide else None,
        "assay_label": slide.label if slide else None,
        "oncotree_code": code.name if code else None,
        "oncotree_name": code.label if code else None,
        "oncotree_tissue": tissue_of_code(code).label if code else None,
        "disease_state": name_of("disease_states", row.get("disease_state")),
        "preservation": name_of("preservation", row.get("preservation")),
        "licence_spdx": licence.spdx if licence else None,
        "licence_commercial": allowed.get("commercial") or None,
        "licence_derivatives": allowed.get("derivatives") or None,
        "licence_share_alike": allowed.get("share_alike") or None,
        "licence_redistribution": allowed.get("redistribution") or None,
        "completeness": round(1 - sum(WEIGHTS[name] for name in missing), 3),
        "missing": missing,
        "contradictions": [f"{code}: {text}" for check in CHECKS for code, text in check(row, measured)],
    }


def assay(row: Row, measured: Measured) -> Term | None:
    """The assay, as exactly as slide and instrument are known: a term with an EFO identifier.

    The first letters of a slide's serial number say all. Without one, an 11 mm area is always CytAssist's, and an area
    of 6.5 mm is V1 only where the instrument is known to be absent: from a Loupe alignment without CytAssist, or from
    positions without header, as Space Ranger 1 wrote them, which knew no CytAssist.
    """
    terms = [term for term in vocabulary.load("assays").terms if term.cells["technology"] == row.get("technology")]
    serial = serial_prefix(row, measured)
    for term in terms:
        if serial and serial in term.listed("serial_prefixes"):
            return term
    known = {"slide": capture_area(row, measured), "cytassist": cytassist(row, measured)}
    if known["slide"] == "11 mm":
        known["cytassist"] = "yes"
    fitting = [
        (sum(bool(term.cells[name]) for name in known), term)
        for term in terms
        if all(term.cells[name] in ("", known[name]) for name in known)
    ]
    return max(fitting, key=lambda pair: pair[0])[1] if fitting else None


def _ids(terms: tuple[Term, ...]) -> str | None:
    return "; ".join(term.id for term in terms if term.id) or None


def _is_given(row: Row, name: str) -> bool:
    """Whether a field is known; tissue without cancer needs no OncoTree code, and an unspecified licence is none."""
    if name == "oncotree_code" and row.get("disease_state") not in (None, "cancer"):
        return True
    if name == "licence":
        licence = vocabulary.licence(row.get("licence", ""))
        return licence is not None and licence.spdx is not None
    return row.get(name, "") != ""
