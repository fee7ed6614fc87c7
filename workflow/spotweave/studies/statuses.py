"""What is known of whole patients (a receptor, say) told from the mean embedding of their slides' tiles."""

from __future__ import annotations

import itertools
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from tqdm import tqdm

from spotweave.encoders import ENCODERS, Encoder
from spotweave.errors import Refusal
from spotweave.evaluation import Origins
from spotweave.evaluation.effective_rank import rankme
from spotweave.evaluation.slides import slide_probe
from spotweave.io import file_hash, read_json, write_json
from spotweave.predicting.slides import pyramid_of
from spotweave.resumed import key_of
from spotweave.slide.levels import Pyramid
from spotweave.slide.patches import PatchGrid, cut
from spotweave.studies.slides import PIXEL_SIZE, PYRAMID, of_row
from spotweave.studies.tiles import tiled

COLUMNS = ("encoder", "label", "what", "mean", "std", "values", "slides", "note")
RANKME = "rankme"
# Tiles at a time.
BATCH = 64


def names_of_rows(encoders: Sequence[str]) -> list[str]:
    """Those of the encoders that are rows of the table; the others are files that recipes left."""
    return [name for name in encoders if not name.endswith(".safetensors")]


def opened(
    names: Sequence[str], rows: Mapping[str, Mapping[str, str]], seed: int, device: str
) -> dict[str, tuple[str, Encoder]]:
    """Encoders by name, as `evaluate` takes them: those of rows of the encoder table, and files that recipes left.

    Raises
    ------
    EncoderUnavailable
        If weights cannot be had.
    """
    from spotweave.networks.spec import EncoderSpec
    from spotweave.networks.tower import read_tower

    found: dict[str, tuple[str, Encoder]] = {}
    for name in names:
        if name in rows:
            spec = EncoderSpec.from_row(rows[name])
            build = ENCODERS.load(rows[name]["builder"]).build
            found[name] = key_of(dict(rows[name]), seed), build(spec, folder=None, seed=seed, device=device)
        else:
            found[name] = file_hash(Path(name)), read_tower(Path(name), device)
    return found


def evaluate(
    slides: pd.DataFrame,
    labels: Sequence[str],
    encoders: Mapping[str, tuple[str, Encoder]],
    *,
    size_px: int,
    um_per_px: float,
    scratch: Path,
    seeds: Sequence[int],
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """A row for each encoder, label and measure: mean and standard deviation over folds and seeds.

    Parameters
    ----------
    slides
        As from `slides.read_slides`, with a column for each of `labels`: two values, blank where it is not known.
    encoders
        Name -> what it is made of, for what is kept to be taken up by the same encoder only, and the encoder.
    size_px, um_per_px
        Of a tile.
    scratch
        A folder that keeps each slide's mean and rank: a run that was killed, or one with further labels, goes on.

    Returns
    -------
    scores, left_out
        The rows; and `slide`, `patient`, `reason` of the slides that are in none of them.

    Raises
    ------
    Refusal
        A label has no column, or no slide can be read.
    """
    missing = [label for label in labels if label not in slides]
    if missing:
        raise Refusal(f"the table of slides has no column {missing[0]!r}: name its columns of labels, or add it")
    scratch.mkdir(parents=True, exist_ok=True)
    rows: list[dict[str, Any]] = []
    left_out: dict[int, str] = {}
    for name, (made_of, encoder) in encoders.items():
        made_by = key_of(made_of, size_px, um_per_px)
        found = {
            number: _remembered(row, encoder, scratch, made_by, size_px, um_per_px)
            for number, row in enumerate(tqdm(slides.to_dict("records"), desc=name, disable=None))
        }
        left_out |= {number: one["reason"] for number, one in found.items() if one["reason"]}
        read = {number: one for number, one in found.items() if not one["reason"]}
        if not read:
            raise Refusal(f"{name}: no slide of the table can be used; the first: {next(iter(left_out.values()))}")
        rows += _rows(name, slides, read, labels, seeds)
    unread = slides[["slide", "patient"]].iloc[list(left_out)].assign(reason=list(left_out.values()))
    return pd.DataFrame(rows, columns=list(COLUMNS)), unread


def _rows(
    name: str, slides: pd.DataFrame, found: Mapping[int, dict[str, Any]], labels: Sequence[str], seeds: Sequence[int]
) -> list[dict[str, Any]]:
    kept = list(found)
    ranks, means = (np.array([found[number][what] for number in kept]) for what in (RANKME, "mean"))
    rows = [_row(name, "", RANKME, ranks, len(kept))]
    # Slides by their numbers in the table: names of files may meet.
    origins = Origins(np.array([f"{number:06d}" for number in kept]), slides["patient"].to_numpy(str)[kept], None)
    for label in labels:
        known = {f"{number:06d}": str(slides[label].iloc[number]) for number in kept}
        known = {slide: value for slide, value in known.items() if value}
        by: dict[str, list[Any]] = {}
        for one in slide_probe(means, origins, known, seeds):
            by.setdefault(one.what, []).append(one)
        for what, several in by.items():
            values = np.array([one.value for one in several if one.value is not None])
            note = next((one.note for one in several if one.note), "")
            rows.append(_row(name, label, what, values, len(known), note))
    return rows


def _row(name: str, label: str, what: str, values: np.ndarray, slides: int, note: str = "") -> dict[str, Any]:
    mean, std = (values.mean(), values.std()) if len(values) else (np.nan, np.nan)
    return dict(zip(COLUMNS, (name, label, what, mean, std, len(values), slides, note), strict=True))


def _remembered(
    row: Mapping[str, Any], encoder: Encoder, scratch: Path, made_by: str, size_px: int, um_per_px: float
) -> dict[str, Any]:
    """What a slide gave, now or in a run before: rank and mean (D,) of its embeddings, or the reason for none."""
    path = Path(row["slide"])
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such slide; mend the table of slides")
    kept = scratch / f"{key_of(made_by, file_hash(path), str(row[PIXEL_SIZE]))}.json"
    if kept.is_file():
        known: dict[str, Any] = read_json(kept)
        return known
    try:
        with tempfile.TemporaryDirectory(prefix="slide-") as folder:
            slide = of_row(row)
            pyramid = pyramid_of(slide, Path(folder), PYRAMID)
            centres_px = tiled(slide, pyramid, size_px * um_per_px).places.positions_px
            images = cut(Pyramid(pyramid), PatchGrid(centres_px, size_px, um_per_px, slide.pixel_size_um))
            parts = iter(lambda: list(itertools.islice(images, BATCH)), [])
            rows = [encoder.encode(np.stack(part)) for part in parts]
        embedded = np.concatenate(rows).astype(np.float64)
        found = {RANKME: float(rankme(embedded)), "mean": embedded.mean(axis=0).tolist(), "reason": ""}
    except Refusal as refusal:
        found = {"reason": refusal.reason}
    write_json(kept, found)
    return found
