"""One slide of the folder, as its files say it, and none of it believed."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from spotweave.deposits.delimited import shorten
from spotweave.errors import Refusal
from spotweave.matrices.count_table import read_counts
from spotweave.stimage import COORD, EXTRA, FOLDERS, GENES, META, NAME, SLIDES, SPOTS
from spotweave.stimage.tables import Table, file_in, read_table

DATED = re.compile(r"meta_all_gene(?:(?P<month>\d\d)(?P<day>\d\d)(?P<year>\d{4}))?\.csv")
COORD_FILE, COUNT_FILE = "_coord.csv", "_count.csv"


@dataclass(frozen=True)
class Slide:
    """Spots that have counts and a place, in the order of the places.

    Attributes
    ----------
    folder
        One of `FOLDERS`.
    spots
        (N,) without the name of the slide before them.
    xy_px, radius_px
        (N, 2) float64 x and y of the centres, and their radius.
    counts, genes
        (N, G) CSR float32, and (G,) names as filed, which may repeat.
    picture
        Not opened yet.
    without_counts, without_place
        Spots of the other file that were left out.
    """

    name: str
    folder: str
    spots: list[str]
    xy_px: NDArray[np.float64]
    radius_px: float
    counts: csr_matrix
    genes: list[str]
    picture: Path
    without_counts: int
    without_place: int


def slide_names(root: Path, asked: Sequence[str] = ()) -> dict[str, str]:
    """Slide -> its folder, sorted; all that have places, or those asked for.

    Raises
    ------
    Refusal
        A name that is none, is in two folders or in none.
    """
    found: dict[str, str] = {}
    for folder in FOLDERS:
        place = root / folder / "coord"
        if (root / folder).is_symlink() or place.is_symlink():
            raise Refusal(f"{folder}/coord: a link, or behind one; download it as a folder")
        for path in sorted(place.glob(f"*{COORD_FILE}")):
            name = path.name.removesuffix(COORD_FILE)
            if not NAME.fullmatch(name):
                raise Refusal(f"{folder}/coord: {shorten(path.name)!r} is no name of a slide's file")
            if found.setdefault(name, folder) != folder:
                raise Refusal(f"slide {name} is in {found[name]} and in {folder}; keep it in one")
    lacking = [name for name in asked if name not in found]
    if lacking or not found:
        what = f"no slide {shorten(lacking[0])!r}" if lacking else "no slides"
        raise Refusal(f"{root.name}: {what}; <ST|Visium|VisiumHD>/coord/<slide>{COORD_FILE} is expected")
    return {name: found[name] for name in sorted(asked or found)}


def read_slide(root: Path, folder: str, name: str) -> Slide:
    """Places, counts and where the picture lies; whether it is one, who opens it will see.

    Raises
    ------
    Refusal
        A file is missing, a link, or holds what cannot be: spots of another slide, radii that differ, no counts.
    """
    places = read_table(file_in(root, f"{folder}/coord/{name}{COORD_FILE}"), COORD)
    table = read_counts(file_in(root, f"{folder}/gene_exp/{name}{COUNT_FILE}"))
    picture = file_in(root, f"{folder}/image/{name}.png")
    radii = sorted(set(places.numbers("r")))
    if len(radii) != 1 or radii[0] <= 0:
        raise Refusal(f"{places.name}: r is {radii[0]:g} to {radii[-1]:g}; one radius above 0 is due to all spots")
    row_of: dict[str, int] = {}
    for row, (spot, line) in enumerate(zip(table.row_names, table.row_lines, strict=True)):
        if row_of.setdefault(spot, row) != row:
            raise Refusal(f"{table.name}: row {line}: spot {shorten(spot)} is there twice")
    for where, names in ((places.name, places.index), (table.name, table.row_names)):
        stray = next((spot for spot in names if not spot.startswith(f"{name}_") or len(spot) == len(name) + 1), None)
        if stray is not None:
            raise Refusal(f"{where}: spot {shorten(stray)!r} is none of this slide; they are called {name}_...")
    if "" in table.column_names:
        raise Refusal(f"{table.name}: column {table.column_names.index('') + 2} has no name of a gene")
    both = [at for at, spot in enumerate(places.index) if spot in row_of]
    if not both:
        raise Refusal(f"{table.name}: none of its spots has a place in {places.name}")
    spots = [places.index[at] for at in both]
    return Slide(
        name,
        folder,
        [spot.removeprefix(f"{name}_") for spot in spots],
        np.column_stack([places.numbers("xaxis"), places.numbers("yaxis")])[both],
        radii[0],
        table.counts[[row_of[spot] for spot in spots]],
        table.column_names,
        picture.path,
        len(places.index) - len(both),
        len(table.row_names) - len(both),
    )


def read_meta(root: Path) -> dict[str, dict[str, str]]:
    """Slide -> its row of the latest `meta_all_gene*.csv`; empty without one."""
    dated = {
        (match["year"] or "", match["month"] or "", match["day"] or ""): path.name
        for path in root.glob("meta/meta_all_gene*.csv")
        if (match := DATED.fullmatch(path.name))
    }
    return _by_slide(read_table(file_in(root, f"meta/{dated[max(dated)]}"), META[1:])) if dated else {}


def read_extra(root: Path) -> dict[str, dict[str, str]]:
    """Slide -> its row of `spotweave_extra/slides.csv`; empty in folders of others."""
    if not (root / EXTRA).exists():
        return {}
    return _by_slide(read_table(file_in(root, f"{EXTRA}/slides.csv"), SLIDES[1:]))


def read_extra_of(root: Path, slide: Slide) -> tuple[Table, Table]:
    """What we wrote of spots and of genes beside the layout: one row for each of the slide's, in their order.

    Raises
    ------
    Refusal
        They are of other spots or genes.
    """
    spots = read_table(file_in(root, f"{EXTRA}/spots/{slide.name}_spots.csv"), SPOTS)
    genes = read_table(file_in(root, f"{EXTRA}/genes/{slide.name}_genes.csv"), GENES)
    for table, names in ((spots, [f"{slide.name}_{spot}" for spot in slide.spots]), (genes, slide.genes)):
        if table.index != names:
            raise Refusal(f"{table.name}: its rows are not those of the slide; remove {EXTRA}, or export again")
    return spots, genes


def check_meta(slide: Slide, row: Mapping[str, str], where: str) -> None:
    """Hold what the table of slides announces against what is there."""
    there = {
        "tech": slide.folder,
        "spot_num": str(len(slide.spots) + slide.without_place),
        "gene_num": str(len(slide.genes)),
    }
    for column, value in there.items():
        if row[column].replace(" ", "") != value:
            raise Refusal(f"{where}: slide {slide.name}: {column} is {shorten(row[column])!r}, the files have {value}")


def _by_slide(table: Table) -> dict[str, dict[str, str]]:
    return {
        name: {column: values[at] for column, values in table.columns.items()} for at, name in enumerate(table.index)
    }
