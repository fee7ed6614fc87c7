"""Training of the corner detector on rendered frames, and its measurement on others and on real ones."""

from __future__ import annotations

import hashlib
import importlib.metadata
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import save_file
from tqdm import tqdm

from spotweave.deposits.raw import RawFile
from spotweave.fiducials.detection import Detection
from spotweave.fiducials.detector import (
    ARCHITECTURE,
    LONGER_SIDES_PX,
    Detector,
    build_network,
    iou,
    prepare_ultralytics,
)
from spotweave.geometry import apply, fit_affine
from spotweave.io import atomic, read_json, write_text
from spotweave.simulate.frames import DIFFICULTIES, Frame, draw_look, render
from spotweave.visium.array import DOT_DIAMETER_UM, SHAPES, CaptureArea, capture_area
from spotweave.visium.positions import read_positions

CROP_PX = 256  # small crops are full of corners, and six times as fast as whole pictures
SIZES_PX = (640, 800)  # of the rendered frames: the detector looks at pictures of 640 and 1,280 px
BATCH = 8  # many small steps: the network starts from nothing
VALIDATION_SHARE = 0.06
MEASURED_FRAMES = 200
MEASURED_SEED = 10_000_019  # far from any seed of training
LEAST_SCORES = (0.25, 0.05)
SAME_IOU = 0.5


def corner_boxes(area: CaptureArea, matrix: NDArray[np.float64]) -> NDArray[np.float64]:
    """(4, 4) x, y, width, height px of the boxes around the corner shapes' dots, in the order of `SHAPES`.

    `matrix` (3, 3) maps um of the area to px.
    """
    margin = DOT_DIAMETER_UM / 2 * np.sqrt(abs(np.linalg.det(matrix[:2, :2])))
    boxes = []
    for shape in range(len(SHAPES)):
        dots = apply(matrix, area.dots_um[area.shape == shape])
        low, high = dots.min(axis=0) - margin, dots.max(axis=0) + margin
        boxes.append([*(low + high) / 2, *(high - low)])
    return np.array(boxes)


def rendered(number: int, seed: int, sizes_px: Sequence[int | None]) -> Iterator[tuple[str, Frame]]:
    """Difficulty and frame, in turns of all difficulties and of the sizes; None draws a size."""
    for index in range(number):
        rng = np.random.default_rng([seed, index])
        difficulty = DIFFICULTIES[index % len(DIFFICULTIES)]
        size = sizes_px[(index // len(DIFFICULTIES)) % len(sizes_px)]
        yield difficulty, render(rng, draw_look(rng, difficulty, size_px=size))


def _crops(rng: np.random.Generator, frame: Frame) -> Iterator[tuple[NDArray[np.uint8], list[str]]]:
    """Crops around every corner that can be seen, and one of anywhere; with their labels."""
    boxes = corner_boxes(capture_area(frame.look.area), frame.matrix)
    centres = [boxes[k, :2] + rng.uniform(-0.4, 0.4, 2) * CROP_PX for k in np.flatnonzero(frame.corners_visible)]
    height, width = frame.picture.shape[:2]
    centres.append(rng.uniform(0, (width, height)))
    for centre in centres:
        left, top = (np.rint(centre) - CROP_PX // 2).astype(int)
        crop = np.full((CROP_PX, CROP_PX, 3), 114, dtype=np.uint8)
        x0, y0 = max(left, 0), max(top, 0)
        x1, y1 = min(left + CROP_PX, width), min(top + CROP_PX, height)
        if x0 >= x1 or y0 >= y1:
            continue
        crop[y0 - top : y1 - top, x0 - left : x1 - left] = frame.picture[y0:y1, x0:x1]
        labels = []
        for shape in np.flatnonzero(frame.corners_visible):
            x, y, box_width, box_height = boxes[shape]
            x, y = (x - left) / CROP_PX, (y - top) / CROP_PX
            half_x, half_y = box_width / CROP_PX / 2, box_height / CROP_PX / 2
            if half_x <= x <= 1 - half_x and half_y <= y <= 1 - half_y:
                labels.append(f"{shape} {x:.6f} {y:.6f} {2 * half_x:.6f} {2 * half_y:.6f}")
        yield crop, labels


def write_data(folder: Path, *, frames: int, seed: int) -> int:
    """Render crops and labels in ultralytics' layout; returns the number of crops."""
    number = 0
    for split in ("train", "val"):
        (folder / "images" / split).mkdir(parents=True)
        (folder / "labels" / split).mkdir(parents=True)
    looked = tqdm(rendered(frames, seed, SIZES_PX), total=frames, desc="rendering", disable=None)
    for index, (_, frame) in enumerate(looked):
        split = "val" if index < VALIDATION_SHARE * frames else "train"
        rng = np.random.default_rng([seed, index, 1])
        for crop, labels in _crops(rng, frame):
            name = f"{number:06d}"
            cv2.imwrite(str(folder / "images" / split / f"{name}.png"), crop[..., ::-1])
            (folder / "labels" / split / f"{name}.txt").write_text("\n".join(labels))
            number += 1
    names = "".join(f"  {k}: {shape}\n" for k, shape in enumerate(SHAPES))
    (folder / "data.yaml").write_text(f"path: {folder}\ntrain: images/train\nval: images/val\nnames:\n{names}")
    return number


def train(weights: Path, *, frames: int, epochs: int, seed: int, threads: int) -> None:
    """Render, train, and write the weights (safetensors, float16).

    The same arguments give the same weights on the same kind of processor with the same versions.
    """
    prepare_ultralytics()
    from ultralytics import YOLO

    with tempfile.TemporaryDirectory(prefix="spotweave-detector-") as scratch:
        folder = Path(scratch)
        write_data(folder, frames=frames, seed=seed)
        model = YOLO(ARCHITECTURE)
        # ultralytics sets a number of its own, from the machine's cores, when training begins.
        model.add_callback("on_train_start", lambda _: torch.set_num_threads(threads))
        model.train(
            data=str(folder / "data.yaml"),
            epochs=epochs,
            imgsz=CROP_PX,
            batch=BATCH,
            nbs=BATCH,
            device=0 if torch.cuda.is_available() else "cpu",
            workers=0,
            pretrained=False,
            amp=False,
            plots=False,
            project=str(folder),
            name="run",
            exist_ok=True,
            seed=seed,
            deterministic=True,
            optimizer="AdamW",
            lr0=0.001,
            cos_lr=True,
            warmup_epochs=1,
            mosaic=0.0,
            scale=0.25,
            hsv_h=0.02,
            hsv_s=0.4,
            hsv_v=0.2,
            flipud=0.5,
            cache="ram",
            verbose=False,
        )
        trained: Any = model.trainer
        trained = trained.ema.ema.float().state_dict()
    expected = build_network().state_dict()
    state = {
        name: tensor.detach().cpu().half().contiguous()
        for name, tensor in trained.items()
        if name in expected and not name.endswith("num_batches_tracked")
    }
    weights.parent.mkdir(parents=True, exist_ok=True)
    with atomic(weights) as part:
        save_file(state, part)


@dataclass
class Count:
    """Corners of one kind: `shown`, `found` at a score of 0.25, `found_low` at 0.05; and boxes that are `false`."""

    shown: int = 0
    found: int = 0
    found_low: int = 0
    false: int = 0

    def __add__(self, other: Count) -> Count:
        return Count(*(getattr(self, field.name) + getattr(other, field.name) for field in fields(self)))


Counts = dict[tuple[str, str], Count]


def _box(found: Detection) -> NDArray[np.float64]:
    return np.array([found.x_px, found.y_px, found.width_px, found.height_px])


def count_hits(
    detections: Sequence[Detection], boxes: NDArray[np.float64], shown: NDArray[np.bool_], *, has_frame: bool
) -> list[Count]:
    """One count per shape: `boxes` (4, 4) are the true ones, `shown` (4,) says which can be seen."""
    counts = []
    for shape, box in enumerate(boxes):
        own = [found for found in detections if found.shape == shape]
        hits = [found for found in own if iou(_box(found), box) >= SAME_IOU] if has_frame else []
        false = sum(found.score >= LEAST_SCORES[0] and found not in hits for found in own)
        best = max((found.score for found in hits), default=0.0)
        if not shown[shape]:  # half a shape may show: finding it is no mistake, and no merit
            counts.append(Count(false=false))
        else:
            counts.append(Count(1, int(best >= LEAST_SCORES[0]), int(best >= LEAST_SCORES[1]), false))
    return counts


def measure(detector: Detector, *, frames: int = MEASURED_FRAMES) -> Counts:
    """Counts per difficulty and shape on frames that no training saw."""
    counts: Counts = {(difficulty, shape): Count() for difficulty in DIFFICULTIES for shape in SHAPES}
    unseen = rendered(frames, MEASURED_SEED, (None,))
    for difficulty, frame in tqdm(unseen, total=frames, desc="measuring", disable=None):
        boxes = corner_boxes(capture_area(frame.look.area), frame.matrix)
        detections = detector.detect(frame.picture)
        hits = count_hits(detections, boxes, frame.corners_visible, has_frame=frame.look.has_frame)
        for shape, count in zip(SHAPES, hits, strict=True):
            counts[difficulty, shape] += count
    return counts


def vendor_matrix(folder: Path) -> NDArray[np.float64]:
    """(3, 3) um -> px of a Space Ranger folder's low-resolution picture, from the positions of its 6.5 mm array.

    Raises
    ------
    Refusal
        The positions cannot be read.
    """
    path = next(iter(sorted(folder.glob("tissue_positions*"))))
    table = read_positions(RawFile(path.name, path)).table
    scale = read_json(folder / "scalefactors_json.json")["tissue_lowres_scalef"]
    spots_um = capture_area("6.5 mm").spots_um(table[["array_row", "array_col"]].to_numpy())
    return fit_affine(spots_um, table[["x_px", "y_px"]].to_numpy() * scale)


def real_table(detector: Detector, folders: Sequence[Path]) -> str:
    """Markdown: corners found in the pictures of Space Ranger folders (6.5 mm), against where the vendor has them."""
    lines = [
        "| picture | um/px | found of 4 (score 0.25) | (0.05) | furthest from the vendor's, um | false (0.25) |",
        "|---|---|---|---|---|---|",
    ]
    area = capture_area("6.5 mm")
    for folder in folders:
        picture = cv2.imread(str(folder / "tissue_lowres_image.png"))
        if picture is None:
            raise FileNotFoundError(folder / "tissue_lowres_image.png")
        matrix = vendor_matrix(folder)
        boxes, um = corner_boxes(area, matrix), float(1 / np.sqrt(abs(np.linalg.det(matrix[:2, :2]))))
        detections = detector.detect(np.ascontiguousarray(picture[..., ::-1], dtype=np.uint8))
        count = sum(count_hits(detections, boxes, np.ones(4, dtype=np.bool_), has_frame=True), Count())
        near = [
            float(np.hypot(found.x_px - boxes[found.shape, 0], found.y_px - boxes[found.shape, 1]) * um)
            for found in detections
            if iou(_box(found), boxes[found.shape]) >= SAME_IOU
        ]
        furthest = f"{max(near):.0f}" if near else "-"
        name = folder.parent.name if folder.name == "spatial" else folder.name
        lines.append(f"| {name} | {um:.1f} | {count.found} | {count.found_low} | {furthest} | {count.false} |")
    return "\n".join(lines)


def table(counts: Counts, rows: Sequence[tuple[str, Sequence[str], Sequence[str]]]) -> str:
    """Markdown: precision and recall of groups of difficulties and shapes."""
    lines = [
        "| frames | corners that can be seen | recall (score 0.25) | recall (0.05) | precision (0.25) | false |",
        "|---|---|---|---|---|---|",
    ]
    for name, difficulties, shapes in rows:
        of = sum((counts[difficulty, shape] for difficulty in difficulties for shape in shapes), Count())
        recall, recall_low = (f"{n / of.shown:.3f}" if of.shown else "-" for n in (of.found, of.found_low))
        precision = f"{of.found / (of.found + of.false):.3f}" if of.found + of.false else "-"
        lines.append(f"| {name} | {of.shown} | {recall} | {recall_low} | {precision} | {of.false} |")
    return "\n".join(lines)


def train_and_describe(weights: Path, how: Mapping[str, int], real: Sequence[Path]) -> None:
    """`train`, timed, and `write_card`; `how` holds frames, epochs, seed and threads."""
    start = time.monotonic()
    train(weights, **how)
    write_card(weights, **how, minutes=(time.monotonic() - start) / 60, real=real)


def write_card(
    weights: Path, *, frames: int, epochs: int, seed: int, threads: int, minutes: float | None, real: Sequence[Path]
) -> None:
    """Measure the weights on frames that no training saw and on real ones, and write `card.md` beside them.

    `minutes` is how long training took, None if that is not known; `real` Space Ranger folders of 6.5 mm areas.
    """
    detector = Detector(weights)
    counts = measure(detector)
    rows: list[tuple[str, Sequence[str], Sequence[str]]]
    rows = [(difficulty, [difficulty], SHAPES) for difficulty in DIFFICULTIES]
    rows += [(shape, DIFFICULTIES, [shape]) for shape in SHAPES]
    digest = hashlib.sha256(weights.read_bytes()).hexdigest()
    command = (
        f"python scripts/train_detector.py --weights {weights.name} --frames {frames} --epochs {epochs} --seed {seed}"
        f" --threads {threads}"
    )
    versions = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in ("ultralytics", "torch", "numpy"))
    took = "" if minutes is None else f", {minutes:.0f} minutes"
    on_real = ""
    if real:
        on_real = f"""
Real pictures (public sections, no part of the training); a hit is as above, the truth the vendor's positions:

{real_table(detector, real)}
"""
    sides = " and ".join(f"{side:,}" for side in LONGER_SIDES_PX)
    card = f"""# Corner detector of Visium fiducial frames

Finds the four corner shapes ({", ".join(SHAPES)}) in a picture of a slide, as a first guess for the fit on single dots
(`docs/fiducials.md`). Not meant for anything else.

| | |
|---|---|
| network | ultralytics `{ARCHITECTURE}`, {len(SHAPES)} classes, random start |
| pictures | looked at with a longer side of {sides} px |
| data | {frames} frames rendered by `spotweave.simulate.frames` (easy to cruel, and none); no real picture |
| crops | {CROP_PX} px, around every corner and of anywhere |
| seed | {seed} |
| training | `{command}`{took} |
| versions | {versions} |
| file | safetensors, float16, {weights.stat().st_size / 1e6:.1f} MB |
| sha256 | {digest} |
| licence | AGPL-3.0-or-later, as the project and ultralytics |

Measured on {MEASURED_FRAMES} other rendered frames; a hit is a box of the same shape with an IoU from {SAME_IOU}:

{table(counts, rows)}
{on_real}
Missed corners are no harm as long as two are found; false ones neither, for the fit holds every pair against the dots.
"""
    write_text(weights.with_name("card.md"), card)
