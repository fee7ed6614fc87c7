"""A sample's metadata on vocabularies, how complete they are, and what in them contradicts what.

The words of the row stay as they are; identifiers stand beside them. A contradiction refuses nothing: it is listed in
the sample's metadata and in the released table, each with a code, so that a person can settle it. What is absent
contradicts nothing. Every check is of something found in a published table or deposit (docs/metadata.md).
"""

from __future__ import annotations

import math
import re
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from spotweave.pictures.magnification import magnification
from spotweave.pictures.pixel_sizes import COARSEST_UM, Source, explain, explain_value, is_agreed, software_default
from spotweave.tables import vocabulary
from spotweave.tables.vocabulary import Term

Row = Mapping[str, str]
Measured = Mapping[str, Mapping[str, Any]]
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
SAME_RATIO = 0.02  # of pitches and diameters
FROZEN = ("fresh_frozen", "snap_frozen", "flash_frozen", "fixed_frozen")
# Pitch and spot diameter, um, of the arrays that were sold: 1k and 2k arrays of 2016-2019, Visium.
ARRAYS_UM = {"Spatial Transcriptomics": ((200.0, 100.0), (150.0, 110.0)), "Visium": ((100.0, 55.0),)}
SERIAL_NUMBER = re.compile(r"(?<![A-Za-z0-9])(V[1-5](?=\d[A-Z]\d\d-\d{3})|H1(?=-[A-Z0-9]{7}))")
OTHER_GENOME_SHARE = 0.01
# "patient 1", "P2", "case_3", "A": a label inside one study, not a name of a person.
BARE_LABEL = re.compile(
    r"(?:patients?|donors?|pt|p|case|subject|sample|mouse|animal|individual)?[ _.#-]*(?:\d{1,3}|[a-z])"
)
PATIENT_LABEL = re.compile(r"(?<![A-Za-z0-9])(?:patient|pat|pt|p)[ _-]?(\d{1,3})(?![A-Za-z0-9.])", re.I)


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
    code = _find("oncotree", row.get("oncotree_code"))
    tissue, slide = _find("organs", row.get("tissue")), assay(row, measured)
    missing = [name for name in WEIGHTS if not _is_given(row, name)]
    return {
        "species_ncbitaxon": _ids(_find_all("species", row.get("species"))),
        "organ": "/".join(term.name for term in _organs(row)) or None,
        "organ_uberon": _ids(_organs(row)),
        "tissue_uberon": _ids(_find_all("organs", row.get("tissue"))),
        "tissue_label": (tissue.cells["label"] or None) if tissue else None,
        "assay_efo": slide.id or None if slide else None,
        "assay_label": slide.label if slide else None,
        "oncotree_code": code.name if code else None,
        "oncotree_name": code.label if code else None,
        "oncotree_tissue": _code_tissue(code).label if code else None,
        "disease_state": _name("disease_states", row.get("disease_state")),
        "preservation": _name("preservation", row.get("preservation")),
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
    serial = _serial_prefix(row, measured)
    for term in terms:
        if serial and serial in term.listed("serial_prefixes"):
            return term
    known = {"slide": _capture_area(row, measured), "cytassist": _cytassist(row, measured)}
    if known["slide"] == "11 mm":
        known["cytassist"] = "yes"
    fitting = [
        (sum(bool(term.cells[name]) for name in known), term)
        for term in terms
        if all(term.cells[name] in ("", known[name]) for name in known)
    ]
    return max(fitting, key=lambda pair: pair[0])[1] if fitting else None


def donor_contradictions(rows: Mapping[str, Row]) -> dict[str, list[str]]:
    """What the donors of several samples say against each other: one `code: text` a finding, by sample.

    Parameters
    ----------
    rows
        Sample -> its row, of all cohorts, with `cohort`.
    """
    found: dict[str, list[str]] = defaultdict(list)
    samples: dict[str, list[str]] = defaultdict(list)
    for sample in sorted(rows):
        if "donor" in rows[sample]:
            samples[rows[sample]["donor"]].append(sample)
    for donor, members in sorted(samples.items()):
        for code, text in _donor(donor, {sample: rows[sample] for sample in members}):
            for sample in members:
                found[sample].append(f"{code}: {text}")
    return dict(found)


def _donor(donor: str, rows: Mapping[str, Row]) -> Iterator[tuple[str, str]]:
    species = sorted({row["species"] for row in rows.values() if "species" in row})
    if len(species) > 1:
        yield "donor-of-two-species", f"samples of donor {donor} are of {' and '.join(species)}"
    studies = {row.get("cohort", row.get("dataset_title", "")) for row in rows.values()}
    if len(studies) > 1 and BARE_LABEL.fullmatch(donor.lower()):
        yield "donor-in-two-cohorts", f"{donor!r} is a label that every study uses; in {', '.join(sorted(studies))}"
    labels: dict[str, list[str]] = defaultdict(list)
    for sample, row in rows.items():
        for label in sorted(set(PATIENT_LABEL.findall(_words(row, "subseries", "accession")))):
            labels[label].append(sample)
    if len(labels) > 1:
        named = ", ".join(f"P{label} ({' '.join(labels[label])})" for label in sorted(labels))
        yield "donor-and-sample-names", f"one donor, {donor}, but the samples' names say {named}"


def _find(name: str, text: str | None) -> Term | None:
    return vocabulary.load(name).find(text) if text else None


def _find_all(name: str, text: str | None) -> tuple[Term, ...]:
    return vocabulary.load(name).find_all(text) if text else ()


def _name(name: str, text: str | None) -> str | None:
    term = _find(name, text)
    return term.name if term else None


def _ids(terms: tuple[Term, ...]) -> str | None:
    return "; ".join(term.id for term in terms if term.id) or None


def _organs(row: Row) -> tuple[Term, ...]:
    """Organs of the row; where the cell names a tissue or is blank, the organ that the tissue is filed under."""
    terms = _find_all("organs", row.get("organ")) or _find_all("organs", row.get("tissue"))
    return tuple(_find("organs", term.cells["organ"]) or term for term in terms)


def _code_tissue(code: Term) -> Term:
    return vocabulary.load("oncotree_tissues").spellings[vocabulary.normalised(code.cells["tissue"])]


def _is_given(row: Row, name: str) -> bool:
    """Whether a field is known; tissue without cancer needs no OncoTree code, and an unspecified licence is none."""
    if name == "oncotree_code" and row.get("disease_state") not in (None, "cancer"):
        return True
    if name == "licence":
        licence = vocabulary.licence(row.get("licence", ""))
        return licence is not None and licence.spdx is not None
    return row.get(name, "") != ""


def _number(row: Row, *names: str) -> float | None:
    """The first of these cells that is a positive number."""
    for name in names:
        try:
            value = float(row.get(name, ""))
        except ValueError:
            continue
        if math.isfinite(value) and value > 0:
            return value
    return None


def _words(row: Row, *names: str) -> str:
    return " ".join(row.get(name, "") for name in names).replace("_", " ")


def _free_text(row: Row) -> str:
    """What the source says in free text, in small letters; our own `notes` are no evidence."""
    names = ("dataset_title", "disease_comment", "treatment_comment", "subseries", "accession", "tissue")
    return _words(row, *names).lower()


def _serial_prefix(row: Row, measured: Measured) -> str | None:
    serial = measured.get("read_expression", {}).get("slide_serial_number") or ""
    match = SERIAL_NUMBER.search(f"{serial} {_words(row, 'subseries', 'accession')}")
    return match[1] if match else None


def _capture_area(row: Row, measured: Measured) -> str:
    """`6.5 mm` or `11 mm`, by the places of the spots or else by the title; empty where nothing tells."""
    measured_area = measured.get("read_expression", {}).get("capture_area", "")
    return measured_area or ("11 mm" if re.search(r"\b11 ?mm\b", _free_text(row)) else "")


def _cytassist(row: Row, measured: Measured) -> str:
    """`yes` or `no`; empty where nothing tells."""
    reading = measured.get("read_expression", {})
    found = measured.get("fetch_sample", {}).get("found", {})
    if (
        reading.get("is_cytassist")
        or "cytassist_image" in found
        or "regist_target_img_scalef" in reading.get("scalefactors", {})
        or "cytassist" in _free_text(row)
    ):
        return "yes"
    is_absent = reading.get("is_cytassist") is False or reading.get("positions_layout") == "text"
    return "no" if is_absent else ""


Check = Callable[[Row, Measured], Iterator[tuple[str, str]]]


def _diagnosis(row: Row, measured: Measured) -> Iterator[tuple[str, str]]:
    given, state = row.get("oncotree_code"), row.get("disease_state")
    if given and state == "healthy":
        yield "code-of-healthy", f"OncoTree code {given} on healthy tissue"
    if state == "cancer" and not given:
        yield "cancer-without-code", "cancer without an OncoTree code"
    if not given:
        return
    code = _find("oncotree", given)
    if not code:
        yield "unknown-code", f"{given} is no OncoTree code of version 2026-05-21"
        return
    if code.cells["superseded_by"]:
        yield "superseded-code", f"{given} ({code.label}) of an earlier OncoTree; now {code.cells['superseded_by']}"
    if row.get("species") not in (None, "Homo sapiens"):
        yield "code-of-an-animal", f"OncoTree classifies human cancers, and {given} is on {row['species']}"
    text = _free_text(row)
    if given == "SCCRCC" and "sarcomatoid" not in text and re.search(r"clear.cell|ccrcc", text):
        yield "sarcomatoid-or-clear-cell", "SCCRCC is sarcomatoid renal carcinoma; clear cell carcinoma is CCRCC"
    if given == "IDC" and re.search(r"\bdcis\b|in situ carcinoma|carcinoma in situ", text):
        yield "invasive-or-in-situ", "IDC is invasive; the source speaks of carcinoma in situ (DCIS)"


def _site(row: Row, measured: Measured) -> Iterator[tuple[str, str]]:
    """Code, organ and tissue against each other; what the source calls a metastasis may be anywhere."""
    organs, tissues = _organs(row), _find_all("organs", row.get("tissue"))
    names = {term.name for term in organs}
    for tissue in tissues:
        filed = {tissue.cells["organ"] or tissue.name, *tissue.listed("also")}
        if names and not names & filed:
            yield "organ-and-tissue", f"{tissue.name} is of {' or '.join(sorted(filed))}, not of {row['organ']}"
    code = _find("oncotree", row.get("oncotree_code"))
    if not code:
        return
    usual = _code_tissue(code).listed("organs")
    allowed = {*names, *(also for term in (*organs, *tissues) for also in term.listed("also"))}
    if names and usual and not allowed & set(usual) and not re.search(r"metasta|secondary", _free_text(row)):
        better = [
            other.name
            for other in vocabulary.load("oncotree").terms
            if other.label.startswith(f"{code.label} of") and names & set(_code_tissue(other).listed("organs"))
        ]
        hint = f"; of this organ is {' or '.join(better)}" if better else ""
        yield "code-and-organ", f"{code.name} ({code.label}) is of {' or '.join(usual)}, not of {row['organ']}{hint}"
    part = {"READ": "Rectum", "COAD": "Colon"}.get(code.name)
    other_part = {"READ": "colon", "COAD": "rectum"}.get(code.name)
    if part and any((term.cells["label"] or "").endswith(str(other_part)) for term in tissues):
        yield "code-and-tissue", f"{code.name} ({code.label}) in {row['tissue']}"


def _preservation(row: Row, measured: Measured) -> Iterator[tuple[str, str]]:
    kept = _name("preservation", row.get("preservation"))
    run = measured.get("read_expression", {}).get("run") or {}
    for where, text in (
        ("a title or comment", _free_text(row)),
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
    stated_um = align.get("pixel_size_stated_um") or _number(row, "pixel_size_um", "pixel_size_um_estimated")
    embedded_um = align.get("pixel_size_embedded_um") or _number(row, "pixel_size_um_embedded")
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
    """Distance of neighbouring spots; Visium's columns are half a pitch apart and its rows are shifted by one."""
    found = measured.get("align_array", {}).get("spot_pitch_um") or _number(row, "inter_spot_dist")
    x_um, y_um = _number(row, "array_pitch_x_um"), _number(row, "array_pitch_y_um")
    if found or not x_um:
        return found
    return 2 * x_um if row.get("technology") == "Visium" else min(x_um, y_um or x_um)


def _diameter_um(row: Row, measured: Measured) -> float | None:
    given = _number(row, "spot_diameter_um", "spot_diameter")
    return given or measured.get("assemble_sample", {}).get("spot_diameter_um")


def _slide(row: Row, measured: Measured) -> Iterator[tuple[str, str]]:
    serial, area = _serial_prefix(row, measured), _capture_area(row, measured)
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
    species = _find("species", row.get("species"))
    if not species:
        return
    genes = reading.get("gene_species", {})
    other = {"Homo sapiens": "mouse", "Mus musculus": "human"}.get(species.name)
    if other and genes.get(other, 0) > 0.5 > genes.get("human" if other == "mouse" else "mouse", 0):
        yield "species-and-genes", f"{species.name}, but {genes[other]:.0%} of the gene names are of a {other}"
    panel = _find("species", (reading.get("panel") or {}).get("organism"))
    if panel and panel != species:
        yield "species-and-panel", f"{species.name}, but the gene panel is of {panel.name}"
    counts = reading.get("counts_by_genome", {})
    for genome in sorted(counts):
        found, share = _find("species", genome), counts[genome] / max(sum(counts.values()), 1)
        if found and found != species and share > OTHER_GENOME_SHARE:
            yield (
                "two-species",
                f"{share:.0%} of the counts are of {found.name}: a graft, or two species in one section",
            )


def _genes(row: Row, measured: Measured) -> Iterator[tuple[str, str]]:
    reading = measured.get("read_expression", {})
    genes, controls = reading.get("genes"), sum((reading.get("controls_left_out") or {}).values())
    stated = _number(row, "nb_genes")
    if stated and genes and controls and stated == genes + controls:
        yield "genes-with-controls", f"{stated:.0f} genes stated: {genes} genes and {controls} controls"
    panel = reading.get("panel") or {}
    targets = sum(int(panel.get(name, 0)) for name in ("targets_predesigned", "targets_custom"))
    if genes and targets and genes != targets:
        yield "genes-and-panel", f"{genes} genes in the matrix, {targets} in the panel"


CHECKS: tuple[Check, ...] = (_diagnosis, _site, _preservation, _scale, _array, _slide, _species, _genes)
