"""The whole way of the command: a slide and a model to predictions, a summary and pictures."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spotweave.codehash import code_hash
from spotweave.errors import Refusal
from spotweave.learning.array_places import lattice_of
from spotweave.methods import METHODS
from spotweave.predicting.asking import ask, grid_of, padded_of
from spotweave.predicting.origin import UNKNOWN, dataset_of, origin_of
from spotweave.predicting.pictures import DIAMETER, draw_genes
from spotweave.predicting.places import HEXAGONAL, Places, lattice, read_places
from spotweave.predicting.slides import OwnSlide, open_slide, pyramid_of, tissue_of
from spotweave.predicting.trained import Trained, read_trained
from spotweave.predicting.written import most_varied, spread, write_predictions, write_summary

LIBRARY = Path(__file__).resolve().parents[2]
DRAWN = 5
# A single known spot says nothing of its array: Visium's is taken.
VISIUM: dict[str, Any] = {"lattice": HEXAGONAL, "pitch_um": 100.0}
FILES = ("predictions.h5ad", "genes.csv", "genes.png")


@dataclass(frozen=True)
class Asked:
    """What a person asks for.

    Attributes
    ----------
    slide, model, out
        The picture, the model's folder, and the folder that is written.
    pixel_size_um
        Of the slide; None for what its file says.
    spots
        A CSV of places; None for a lattice over the tissue.
    pitch_um, layout
        Of the lattice; None for those of the array that the model learned from.
    genes
        That are drawn; none for those that differ most.
    dataset
        That the model was trained in; None for the one it lies in.
    script
        The script that is run, for the hash of the code.
    threads
        CPU threads; the last bits of predictions may depend on their number.
    """

    slide: Path
    model: Path
    out: Path
    pixel_size_um: float | None = None
    spots: Path | None = None
    pitch_um: float | None = None
    layout: str | None = None
    genes: Sequence[str] = ()
    dataset: Path | None = None
    script: Path | None = None
    threads: int = 1


def predict_slide(asked: Asked) -> str:
    """Predict, and write `FILES`: all of them or none. Returns lines for the person.

    Raises
    ------
    Refusal
        If the slide, the model or the places cannot be used; the message says which, and what to do.
    """
    import torch

    for what, value in (("pixel size", asked.pixel_size_um), ("pitch", asked.pitch_um), ("threads", asked.threads)):
        if value is not None and not 0 < value < math.inf:
            raise Refusal(f"{what}: {value:g}, which is no number above 0")
    if asked.out.exists() and not asked.out.is_dir():
        raise Refusal(f"{asked.out} is a file: name a folder to write to")
    torch.set_num_threads(asked.threads)
    slide = open_slide(asked.slide, asked.pixel_size_um)
    trained = read_trained(asked.model)
    trained.require_pixel_size(slide.pixel_size_um)
    unknown = [gene for gene in asked.genes if gene not in trained.genes]
    if unknown:
        raise Refusal(f"the model does not predict {', '.join(unknown)}: {asked.model / 'model.json'} lists its genes")
    places, how, pitch_um = _places(asked, slide, trained)
    about = _about(asked, slide, trained, how)
    asked.out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".part-", dir=asked.out) as name:
        folder = Path(name)
        values = ask(trained, slide, pyramid_of(slide, folder), places, folder)
        chosen = list(asked.genes) or [trained.genes[column] for column in most_varied(values)[:DRAWN]]
        columns = [list(trained.genes).index(gene) for gene in chosen]
        padded = padded_of(grid_of(trained, slide, places), slide)
        write_predictions(folder / FILES[0], values, trained.genes, places, padded, about)
        write_summary(folder / FILES[1], values, trained.genes, chosen)
        diameter_px = DIAMETER * pitch_um / slide.pixel_size_um
        draw_genes(folder / FILES[2], slide, places, chosen, values[:, columns], diameter_px, about["scale"])
        for file in FILES:
            (folder / file).replace(asked.out / file)
    return _told(asked, trained, about, values, int(padded.sum()))


def _places(asked: Asked, slide: OwnSlide, trained: Trained) -> tuple[Places, str, float]:
    """The places, how they came about, and the distance between neighbours, um."""
    learned: dict[str, Any] = trained.said["array"] or VISIUM
    if asked.spots is not None:
        places = read_places(asked.spots, slide.width_px, slide.height_px)
        found = lattice_of(places.positions_px)
        return places, f"spots of {asked.spots.name}", found[1] * slide.pixel_size_um if found else learned["pitch_um"]
    layout, pitch_um = asked.layout or learned["lattice"], asked.pitch_um or learned["pitch_um"]
    outlines = tissue_of(slide)
    places = lattice(outlines, layout, pitch_um, slide.pixel_size_um, slide.width_px, slide.height_px)
    return places, f"{layout} lattice of {pitch_um:g} um over tissue", pitch_um


def _about(asked: Asked, slide: OwnSlide, trained: Trained, how: str) -> dict[str, Any]:
    said, row = trained.said, trained.said["row"]
    origin = origin_of(said["samples"], asked.dataset or dataset_of(asked.model))
    script = [] if asked.script is None else [asked.script]
    return {
        "method": row.get("method"),
        "kind": trained.kind,
        "preset": row.get("preset"),
        "behaviour": trained.settings["behaviour"],
        "weights": trained.details.get("weights"),
        "held_out_pearson": trained.details.get("held_out_pearson"),
        "model_sha256": trained.digest,
        "code": code_hash(LIBRARY, *script, LIBRARY / "spotweave" / f"{METHODS.module(trained.kind)}.py"),
        "scale": said["scale"],
        "trained_on_samples": list(said["samples"]),
        "trained_on_donors": list(said["donors"]),
        "trained_on_spots": said["spots"],
        **{f"trained_on_{name}": values for name, values in origin.items()},
        "patch_px": said["patches"]["size_px"],
        "patch_um": trained.patch_um,
        "slide": slide.path.name,
        "pixel_size_um": slide.pixel_size_um,
        "pixel_size_from": slide.pixel_size_from,
        "remark": slide.remark or None,
        "places": how,
    }


def _told(asked: Asked, trained: Trained, about: dict[str, Any], values: NDArray[np.float32], padded: int) -> str:
    held_out = trained.details.get("held_out_pearson")
    said = {name: ", ".join(about[f"trained_on_{name}"]) for name in ("tissue", "species", "technology", "licence")}
    lines = [
        f"{len(values):,} places ({about['places']}) x {len(trained.genes):,} genes, {about['scale']} -> {asked.out}",
        f"{about['method']}, trained on: samples {len(about['trained_on_samples'])}; donors"
        f" {len(about['trained_on_donors'])}; " + "; ".join(f"{name} {value}" for name, value in said.items()),
        f"standard deviation over places, of the gene that differs most: {spread(values).max():.3g}",
        "no measure of how good it is on held-out spots"
        if held_out is None
        else f"mean Pearson correlation of held-out training spots: {held_out:.3f}; of this slide nothing is known",
    ]
    if padded:
        lines.append(f"{padded:,} patches reach beyond the slide, where they are white")
    if about["remark"]:
        lines.append(about["remark"])
    if UNKNOWN in about["trained_on_licence"]:
        lines.append("no metadata of the training samples found: name their dataset's folder, --dataset")
    return "\n".join(lines)
