"""Slides of the layout as a dataset's folder, which other stages and commands read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from spotweave.dataset.release import write_table
from spotweave.deposits.raw import RawFile
from spotweave.errors import Refusal
from spotweave.evaluation.labels import Labels, join_labels, read_labels
from spotweave.io import own_part_path, remove
from spotweave.stimage import SPECIES
from spotweave.stimage.folder import Slide, check_meta, read_extra, read_meta, read_slide, slide_names
from spotweave.stimage.store import Stored, store_slide
from spotweave.stimage.tables import file_in, write_csv

COLUMNS = (
    "id",
    "dataset_title",
    "species",
    "organ",
    "st_technology",
    "disease_state",
    "license",
    "study_link",
    "subseries",
    "donor",
    "donor_from",
    "pixel_size_um_estimated",
    "pixel_size_from",
    "pixel_size_um_by_spacing",
    "pixel_size_um_by_radius",
    "inter_spot_dist",
    "spot_diameter",
    "spots_under_tissue",
    "nb_genes",
    "duplicate_gene_names",
    "spots_without_counts",
    "spots_without_place",
    "picture_note",
)


@dataclass(frozen=True)
class _Source:
    """The folder and what its tables say of all slides."""

    root: Path
    meta: Mapping[str, Mapping[str, str]]
    extra: Mapping[str, Mapping[str, str]]
    labels: Labels
    way: str


def import_folder(root: Path, out: Path, slides: Sequence[str] = (), way: str = "agreement") -> str:
    """Make `out`, a dataset's folder, of slides; one that is at fault is left out with the reason.

    Written are `<dataset>.csv`, `quarantine.csv`, `labels.tsv` where people labelled spots, and for each slide
    `samples/<slide>/` with `st.h5ad`, `slide.tif`, `alignment.json` and `patches.h5` (224 px at 0.5 um/px).

    Parameters
    ----------
    slides
        Which; all, if empty.
    way
        As for `pixel_size.measure`.

    Returns
    -------
    What was made, and the slides that were left out.

    Raises
    ------
    Refusal
        The tables of all slides cannot be read, or not one slide can.
    """
    if out.exists() or out.is_symlink():
        raise Refusal(f"{out}: there already; name another folder, or remove it")
    names = slide_names(root, slides)
    source = _Source(root, read_meta(root), read_extra(root), _read_annotation(root), way)
    part = own_part_path(out)
    rows: list[dict[str, Any]] = []
    refused: list[dict[str, Any]] = []
    spots: dict[str, list[str]] = {}
    try:
        for name, folder in names.items():
            store = part / "samples" / name
            try:
                row, spots[name] = _import(source, folder, name, store)
                rows.append(row)
            except Refusal as refusal:
                remove(store)
                refused.append({"sample_id": name, "reason": refusal.reason})
        if not rows:
            raise Refusal(refused[0]["reason"])
        write_table(part / f"{out.name}.csv", rows, COLUMNS)
        write_table(part / "quarantine.csv", refused, ("sample_id", "reason"))
        labelled = _write_labels(part / "labels.tsv", spots, source.labels)
        part.replace(out)
    finally:
        remove(part)
    said = f"{out}: slides {len(rows)}, spots {sum(map(len, spots.values())):,}, labelled {labelled:,}"
    return "\n".join([said, *(f"left out: {one['reason']}" for one in refused)])


def _import(source: _Source, folder: str, name: str, store: Path) -> tuple[dict[str, Any], list[str]]:
    """Store a slide; its row of the table, and its spots."""
    slide = read_slide(source.root, folder, name)
    said = source.meta.get(name, {})
    if said:
        check_meta(slide, said, "meta/meta_all_gene")
    own = source.extra.get(name)
    stored = store_slide(source.root, slide, own, source.way, store)
    return _row(slide, said, own or {}, stored), slide.spots


def _row(
    slide: Slide,
    said: Mapping[str, str],
    own: Mapping[str, str],
    stored: Stored,
) -> dict[str, Any]:
    size = stored.size
    species = {short: name for name, short in SPECIES.items()}
    # Without one, a study: of slides of one donor nothing says so, and none of them may be tested on the others.
    donor = own.get("donor") or said.get("pmid") or slide.name.rpartition("_")[0] or slide.name
    by_spacing = size.by_spacing_um
    return {
        "id": slide.name,
        "dataset_title": said.get("title", ""),
        "species": species.get(said.get("species", ""), said.get("species", "")),
        "organ": said.get("tissue", "").capitalize(),
        "st_technology": stored.printed.technology,
        "disease_state": {"True": "Cancer"}.get(said.get("involve_cancer", ""), ""),
        "license": own.get("licence", ""),
        "study_link": own.get("study_link", ""),
        "subseries": "",
        "donor": donor,
        "donor_from": "the export" if own.get("donor") else "the study, whose donors are not told apart",
        "pixel_size_um_estimated": repr(size.um),
        "pixel_size_from": size.source,
        "pixel_size_um_by_spacing": None if by_spacing is None else round(by_spacing, 6),
        "pixel_size_um_by_radius": round(size.by_radius_um, 6),
        "inter_spot_dist": stored.printed.pitch_um,
        "spot_diameter": round(2 * slide.radius_px * size.um, 3),
        "spots_under_tissue": len(slide.spots),
        "nb_genes": len(slide.genes),
        "duplicate_gene_names": stored.duplicate_gene_names,
        "spots_without_counts": slide.without_counts,
        "spots_without_place": slide.without_place,
        "picture_note": stored.picture_note,
    }


def _read_annotation(root: Path) -> Labels:
    labels: Labels = {}
    for path in sorted(root.glob("annotation/*")):
        if path.suffix in (".csv", ".tsv", ".txt"):
            raw = file_in(root, f"annotation/{path.name}")
            found = read_labels(RawFile(raw.name, raw.path).path)
            twice = next((key for key in found if labels.get(key, found[key]) != found[key]), None)
            if twice is not None:
                raise Refusal(f"{raw.name}: spot {twice[1]} has another label in a file before it; keep one of them")
            labels |= found
    return labels


def _write_labels(target: Path, spots: Mapping[str, list[str]], labels: Labels) -> int:
    """Write the labels of spots that are here; returns how many."""
    joined = join_labels(spots, labels, {}, needed=False)
    rows = [
        (name, spot, label)
        for name, listed in joined.items()
        for spot, label in zip(spots[name], listed, strict=True)
        if label
    ]
    if rows:
        write_csv(target, ("sample", "barcode", "label"), rows, delimiter="\t")
    return len(rows)
