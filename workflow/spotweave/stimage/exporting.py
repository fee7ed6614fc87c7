"""A dataset that was built, in the layout of STimage-1K4M."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np
import pyvips

from spotweave import h5ad
from spotweave.errors import Refusal
from spotweave.evaluation.labels import labels_of
from spotweave.expression.samples import Expression, read_expression
from spotweave.io import is_refused, own_part_path, remove
from spotweave.pictures.files import open_picture, undecodable
from spotweave.stimage import ANNOTATION, COORD, EXTRA, FOLDERS, GENES, META, NAME, SLIDES, SPECIES, SPOTS
from spotweave.stimage.tables import write_csv

DIAMETER = "uns/spatial/ST/scalefactors/spot_diameter_fullres"
PNG_EFFORT = 6  # of 9; the same picture whatever it is
FOLDER_OF = {printed.technology: folder for folder, printed in FOLDERS.items()}


@dataclass(frozen=True)
class _Sample:
    row: Mapping[str, str]
    expression: Expression
    diameter_px: float
    place: dict[str, list[int]]


def export(results: Path, out: Path, samples: Sequence[str] = (), labels: Sequence[str] = ()) -> str:
    """Write the samples of a dataset, spots under tissue, as slides of the layout; whole or not at all.

    Parameters
    ----------
    results
        The dataset's folder, `results/<dataset>`.
    out
        Where the layout's folder is made; not there yet.
    samples
        Which; all that the layout has a place for, if empty.
    labels
        Tables of labels of spots, `sample=file` or `file`, for `annotation/`.

    Returns
    -------
    What was written, and what was left out with the reason.

    Raises
    ------
    Refusal
        Nothing was built, `out` is there, or a sample that is asked for is of a technology without a place.
    """
    if out.exists() or out.is_symlink():
        raise Refusal(f"{out}: there already; name another folder, or remove it")
    rows = _rows(results)
    unknown = [name for name in samples if name not in rows]
    if unknown:
        raise Refusal(f"{results}: no accepted sample {unknown[0]}")
    left_out = {name: rows[name]["st_technology"] for name in rows if rows[name]["st_technology"] not in FOLDER_OF}
    no_place = [name for name in samples if name in left_out]
    if no_place:
        raise Refusal(f"{no_place[0]}: the layout has no place for {left_out[no_place[0]]}; leave it out")
    chosen = [name for name in sorted(samples or rows) if name not in left_out]
    if not chosen:
        raise Refusal(f"{results}: no sample of {', '.join(FOLDER_OF)}")
    part = own_part_path(out)
    try:
        meta, spots = [], {}
        for name in chosen:
            sample = _read(results / "samples" / name, name, rows[name])
            folder = FOLDER_OF[rows[name]["st_technology"]]
            _write_slide(part, folder, sample, results / "samples" / name / "slide.tif")
            meta.append(_meta(name, folder, sample))
            spots[name] = sample.expression.barcodes.tolist()
        write_csv(part / "meta/meta_all_gene.csv", META, meta, quoted=True)
        write_csv(part / EXTRA / "slides.csv", SLIDES, [_own(name, rows[name]) for name in chosen])
        series = [row["subseries"] for row in rows.values()]
        others = {row["subseries"]: name for name, row in rows.items() if series.count(row["subseries"]) == 1}
        _write_annotation(part, results.name, spots, labels_of(labels, spots, others))
        part.replace(out)
    finally:
        remove(part)
    said = [f"{name} left out: no place for {technology}" for name, technology in left_out.items() if not samples]
    return "\n".join([f"{out}: slides {len(chosen)}, spots {sum(map(len, spots.values())):,}", *said])


def _rows(results: Path) -> dict[str, dict[str, str]]:
    table = results / f"{results.name}.csv"
    if not table.is_file():
        raise Refusal(f"{table} is not there: name a dataset's folder, results/<dataset>, that was built")
    with open(table, newline="", encoding="utf-8") as handle:
        rows = {row["id"]: row for row in csv.DictReader(handle)}
    odd = [name for name in rows if not NAME.fullmatch(name)]
    if odd:
        raise Refusal(f"{table}: {odd[0]!r} is no name of a file; rename the sample")
    return rows


def _read(store: Path, name: str, row: Mapping[str, str]) -> _Sample:
    path = store / "st.h5ad"
    if not path.is_file() or is_refused(path):
        raise Refusal(f"{path} is not there, or refused")
    expression = read_expression(path, name)
    with h5py.File(path) as file:
        in_tissue = h5ad.column(file["obs"], "in_tissue").astype(bool)
        place = {
            column: h5ad.column(file["obs"], column)[in_tissue].astype(int).tolist()
            for column in ("array_row", "array_col")
            if h5ad.has_column(file["obs"], column)
        }
        return _Sample(row, expression, float(file[DIAMETER][()]), place)


def _write_slide(root: Path, folder: str, sample: _Sample, slide: Path) -> None:
    one = sample.expression
    name = one.sample_id
    ids = [f"{name}_{spot}" for spot in one.barcodes.tolist()]
    places = one.positions_px.tolist()
    radius = sample.diameter_px / 2
    coord = ([spot, y, x, radius] for spot, (x, y) in zip(ids, places, strict=True))
    write_csv(root / folder / "coord" / f"{name}_coord.csv", ["", *COORD], coord)
    write_csv(root / folder / "gene_exp" / f"{name}_count.csv", ["", *one.genes.tolist()], _count_rows(ids, one))
    write_csv(root / EXTRA / "spots" / f"{name}_spots.csv", ["", *SPOTS], _own_spots(ids, sample))
    gene_ids = one.gene_ids if one.gene_ids is not None else np.full(len(one.genes), "")
    genes = zip(one.genes.tolist(), gene_ids.tolist(), strict=True)
    write_csv(root / EXTRA / "genes" / f"{name}_genes.csv", ["", *GENES], genes)
    target = root / folder / "image" / f"{name}.png"
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        open_picture(slide).image.pngsave(str(target), compression=PNG_EFFORT, keep="none")
    except pyvips.Error as error:
        raise undecodable(slide, error) from error


def _count_rows(ids: Sequence[str], one: Expression) -> Iterator[list[str]]:
    """Rows of the dense table, one at a time: whole numbers without a point."""
    counts = one.counts
    for row, spot in enumerate(ids):
        cells = ["0"] * counts.shape[1]
        held = slice(counts.indptr[row], counts.indptr[row + 1])
        for column, value in zip(counts.indices[held].tolist(), counts.data[held].tolist(), strict=True):
            if value != int(value):
                raise Refusal(f"spot {spot} has {value:g} of {one.genes[column]}; the layout has whole counts")
            cells[column] = str(int(value))
        yield [spot, *cells]


def _own_spots(ids: Sequence[str], sample: _Sample) -> Iterator[list[object]]:
    pixel_size_um = _number(sample.row["pixel_size_um_estimated"])
    places = sample.expression.positions_px * (np.nan if pixel_size_um is None else pixel_size_um)
    blank = [""] * len(ids)
    rows, columns = sample.place.get("array_row", blank), sample.place.get("array_col", blank)
    for spot, (x, y), row, column in zip(ids, places.round(3).tolist(), rows, columns, strict=True):
        yield [spot, *(("", "") if pixel_size_um is None else (x, y)), row, column]


def _meta(name: str, folder: str, sample: _Sample) -> list[object]:
    row = sample.row
    cells = {
        "slide": name,
        "species": SPECIES.get(row["species"], row["species"].lower()),
        "tissue": row["organ"].lower(),
        "title": row["dataset_title"],
        "involve_cancer": str(row["disease_state"] == "Cancer") if row["disease_state"] else "",
        "tech": folder,
        "spot_num": len(sample.expression.barcodes),
        "gene_num": len(sample.expression.genes),
    }
    return [cells.get(column, "") for column in META]


def _own(name: str, row: Mapping[str, str]) -> list[str]:
    cells = {
        "slide": name,
        "donor": row["donor"],
        "pixel_size_um": row["pixel_size_um_estimated"],
        "spot_diameter_um": row["spot_diameter"],
        "spot_pitch_um": row["inter_spot_dist"],
        "licence": row["license"],
        "study_link": row["study_link"],
    }
    return [cells[column] for column in SLIDES]


def _write_annotation(root: Path, dataset: str, spots: Mapping[str, list[str]], told: Mapping[str, list[str]]) -> None:
    if told:
        lines = (
            [f"{name}_{spot}", name, label]
            for name, listed in spots.items()
            for spot, label in zip(listed, told[name], strict=True)
            if label
        )
        write_csv(root / "annotation" / f"{dataset}_anno.csv", ["", *ANNOTATION], lines, delimiter="\t")


def _number(text: str) -> float | None:
    return float(text) if text else None
