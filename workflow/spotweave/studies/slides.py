"""Slides of patients through a trained method: one table of mean predictions a patient, one of colours."""

from __future__ import annotations

import math
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from tqdm import tqdm

from spotweave.errors import Refusal, plain
from spotweave.io import read_json, write_json
from spotweave.predicting.asking import ask
from spotweave.predicting.slides import OwnSlide, open_slide, pyramid_of
from spotweave.predicting.trained import Trained, read_trained
from spotweave.resumed import key_of
from spotweave.studies import colours
from spotweave.studies.tiles import mean_expression, tiled

COLUMNS = ("slide", "patient")
PIXEL_SIZE = "pixel_size_um"
# Beside the colours, how many tiles were predicted: glass that was taken for tissue shows in it.
COLOURS = (*colours.METRICS, "tiles")
# Tiles that a method is given at once: neighbours mostly, so that one over sections sees what lies around.
TILES_AT_ONCE = 2000
PYRAMID = {"tile_px": 512, "jpeg_quality": 90}


@dataclass(frozen=True)
class Cut:
    """How slides become tiles and tiles a mean.

    Attributes
    ----------
    size_px, um_per_px
        Side of a tile in its own px, and um per px; None for those of the patches that the method learned from.
    undo_log
        As `tiles.mean_expression` takes it.
    """

    size_px: int | None
    um_per_px: float | None
    undo_log: bool


@dataclass(frozen=True)
class Predicted:
    """Patients by genes, patients by `COLOURS`, and the slides that are in neither, with the reason."""

    expression: pd.DataFrame
    colours: pd.DataFrame
    left_out: pd.DataFrame


def read_slides(path: Path) -> pd.DataFrame:
    """The table of slides: `slide` (a path), `patient`, and perhaps `pixel_size_um`, blank where the picture says it.

    Raises
    ------
    ValueError
        A column is missing, a cell is empty, a slide is there twice, or a pixel size is no number: which.
    """
    table = pd.read_csv(path, dtype=str, keep_default_na=False)
    for column in COLUMNS:
        if column not in table:
            raise ValueError(f"{path.name}: no column {column!r}; it needs {', '.join(COLUMNS)}")
        if (table[column] == "").any():
            raise ValueError(f"{path.name}: row {int((table[column] == '').argmax()) + 2} has no {column}")
    twice = table["slide"][table["slide"].duplicated()]
    if len(twice):
        raise ValueError(f"{path.name}: slide {plain(str(twice.iloc[0]))!r} has two rows; keep one")
    sizes = table[PIXEL_SIZE] if PIXEL_SIZE in table else pd.Series("", index=table.index)
    numbers = pd.to_numeric(sizes, errors="coerce")
    wrong = (sizes != "") & ~(numbers > 0)
    if wrong.any():
        where, what = int(wrong.argmax()) + 2, plain(str(sizes[wrong].iloc[0]))
        raise ValueError(f"{path.name}: {PIXEL_SIZE} of row {where} is {what!r}; write um per px, or nothing")
    return table.assign(**{PIXEL_SIZE: numbers})


def predict(slides: pd.DataFrame, model: Path, cut: Cut, scratch: Path) -> Predicted:
    """Predict every slide, a slide at a time; a run that was killed goes on after its last whole slide.

    Parameters
    ----------
    slides
        As from `read_slides`.
    model
        The folder of a trained network, as `fit_method` leaves it.
    scratch
        A folder for what is done, gone at the end.

    Returns
    -------
    predicted
        Means over the tiles of a slide, then over the slides of a patient.

    Raises
    ------
    ValueError
        If the folder holds no model that can be asked; as for a slide of one's own.
    """
    try:
        trained = read_trained(model).given(cut.size_px, cut.um_per_px)
    except Refusal as why:
        raise ValueError(why.reason) from why
    made_by = key_of(read_json(model / "model.json"), trained.digest, asdict(cut))
    done = [
        _remembered(row, trained, cut, scratch, made_by)
        for row in tqdm(slides.to_dict("records"), desc="slides", disable=None)
    ]
    shutil.rmtree(scratch, ignore_errors=True)
    kept = [number for number, one in enumerate(done) if not one["reason"]]
    patients = slides["patient"].iloc[kept]
    return Predicted(
        _by_patient([done[number]["expression"] for number in kept], patients, trained.genes),
        _by_patient([done[number]["colours"] for number in kept], patients, COLOURS),
        slides[list(COLUMNS)].assign(reason=[one["reason"] for one in done]).query("reason != ''"),
    )


def _remembered(row: Mapping[str, Any], trained: Trained, cut: Cut, scratch: Path, made_by: str) -> dict[str, Any]:
    """What a slide gave, now or in a run before: means and colours, or the reason why there are none."""
    path = Path(row["slide"])
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such slide; mend the table of slides")
    known = path.stat()
    kept = scratch / f"{key_of(made_by, str(path), known.st_size, known.st_mtime_ns, str(row[PIXEL_SIZE]))}.json"
    if kept.is_file():
        found: dict[str, Any] = read_json(kept)
        return found
    try:
        with tempfile.TemporaryDirectory(prefix="slide-") as folder:
            found = _of_slide(row, trained, cut, Path(folder))
    except Refusal as refusal:
        found = {"expression": [], "colours": [], "reason": refusal.reason}
    write_json(kept, found)
    return found


def of_row(row: Mapping[str, Any]) -> OwnSlide:
    """The slide of a row of `read_slides`.

    Raises
    ------
    Refusal
        If it is no picture, or neither the file nor the row says how large a pixel is.
    """
    stated_um = None if math.isnan(row[PIXEL_SIZE]) else float(row[PIXEL_SIZE])
    return open_slide(Path(row["slide"]), stated_um, state_it=f"{PIXEL_SIZE} of its row")


def _of_slide(row: Mapping[str, Any], trained: Trained, cut: Cut, folder: Path) -> dict[str, Any]:
    slide = of_row(row)
    trained.require_pixel_size(slide.pixel_size_um)
    pyramid = pyramid_of(slide, folder, PYRAMID)
    found = tiled(slide, pyramid, trained.patch_um)
    predicted = ask(trained, slide, pyramid, found.places, folder, at_once=TILES_AT_ONCE, dtype=np.float64)
    means = mean_expression(predicted, undo_log=cut.undo_log)
    return {"expression": means.tolist(), "colours": [*found.colours.values(), len(found.places.names)], "reason": ""}


def _by_patient(rows: Sequence[Sequence[float]], patients: pd.Series, columns: Sequence[str]) -> pd.DataFrame:
    table = pd.DataFrame(np.asarray(rows, np.float64).reshape(len(rows), len(columns)), columns=list(columns))
    return table.groupby(patients.to_numpy(), sort=True).mean().rename_axis("patient")
