"""Corner shapes of a fiducial frame, found by a small network (YOLO, nano) trained on rendered frames.

Weights are `resources/fiducial_detector/weights.safetensors`, made by `scripts/train_detector.py`; the network itself
is ultralytics' `yolov8n` with four classes, in the order of `fiducials.array.SHAPES`.
"""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file

from spotweave import torchvision_shim
from spotweave.fiducials.detection import Detection
from spotweave.visium.array import SHAPES

ARCHITECTURE = "yolov8n.yaml"
LONGER_SIDES_PX = (640, 1280)  # the picture is looked at in these sizes
STRIDE = 32
GREY = 114  # what fills a picture up to the stride
LEAST_SCORE = 0.05  # low on purpose: the fit sorts out what is false
SAME_IOU = 0.4
MOST = 40  # detections of a picture


def prepare_ultralytics() -> None:
    """Make ultralytics importable without a network: it looks for a font, a version and a settings file on import."""
    torchvision_shim.install()
    os.environ.setdefault("YOLO_OFFLINE", "true")
    os.environ.setdefault("YOLO_AUTOINSTALL", "false")
    os.environ.setdefault("YOLO_VERBOSE", "false")
    if "YOLO_CONFIG_DIR" not in os.environ:
        folder = Path(tempfile.mkdtemp(prefix="spotweave-yolo-"))
        atexit.register(shutil.rmtree, folder, ignore_errors=True)
        os.environ["YOLO_CONFIG_DIR"] = str(folder)
        matplotlib = find_spec("matplotlib")
        if matplotlib is not None and matplotlib.origin is not None:
            font = Path(matplotlib.origin).parent / "mpl-data/fonts/ttf/DejaVuSans.ttf"
            (folder / "Ultralytics").mkdir()
            shutil.copy(font, folder / "Ultralytics/Arial.ttf")


def build_network() -> torch.nn.Module:
    """The network with random weights."""
    prepare_ultralytics()
    from ultralytics.nn.tasks import DetectionModel

    return DetectionModel(ARCHITECTURE, ch=3, nc=len(SHAPES), verbose=False)


class Detector:
    """Finds the four corner shapes."""

    def __init__(self, weights: Path) -> None:
        """Load weights.

        Raises
        ------
        ValueError
            They do not belong to this network.
        """
        network = build_network()
        state = {name: tensor.float() for name, tensor in load_file(weights).items()}
        try:
            missing = set(network.load_state_dict(state, strict=False).missing_keys)
        except RuntimeError as error:
            raise ValueError(f"{weights}: not the weights of {ARCHITECTURE} with {len(SHAPES)} classes") from error
        missing = {name for name in missing if not name.endswith("num_batches_tracked")}
        if missing or set(state) - set(network.state_dict()):
            raise ValueError(f"{weights}: not the weights of {ARCHITECTURE} with {len(SHAPES)} classes")
        self._network = network.eval()

    def detect(
        self, picture: NDArray[np.uint8], *, longer_sides_px: tuple[int, ...] = LONGER_SIDES_PX
    ) -> list[Detection]:
        """Corner shapes in a picture, best first.

        Parameters
        ----------
        picture
            (H, W, 3) uint8 RGB.
        longer_sides_px
            Sizes at which to look; those above the picture's own are left out, but one.

        Returns
        -------
        list of Detection
            In px of the picture, at most one of a shape in a place.
        """
        longest = max(picture.shape[:2])
        sides = [side for side in longer_sides_px if side <= 1.5 * longest] or [min(longer_sides_px)]
        found = np.vstack([self._look(picture, side / longest) for side in sides])
        return _without_doubles(found)

    def _look(self, picture: NDArray[np.uint8], factor: float) -> NDArray[np.float64]:
        """(N, 6) x, y, width, height, score, shape, in px of the picture."""
        height, width = (max(round(side * factor), 1) for side in picture.shape[:2])
        method = cv2.INTER_AREA if factor < 1 else cv2.INTER_LINEAR
        resized = cv2.resize(picture, (width, height), interpolation=method)
        padded = np.full((_up(height), _up(width), 3), GREY, dtype=np.uint8)
        padded[:height, :width] = resized
        batch = torch.from_numpy(padded.transpose(2, 0, 1)[None].copy()).float() / 255
        with torch.inference_mode():
            output: Any = self._network(batch)
        values = (output[0] if isinstance(output, tuple | list) else output)[0].numpy().astype(np.float64)
        boxes, scores = values[:4].T, values[4:].T
        keep, shape = np.nonzero(scores >= LEAST_SCORE)
        x_scale, y_scale = picture.shape[1] / width, picture.shape[0] / height
        return np.column_stack(
            [boxes[keep] * (x_scale, y_scale, x_scale, y_scale), scores[keep, shape], shape.astype(np.float64)]
        )


def _up(side: int) -> int:
    return -(-side // STRIDE) * STRIDE


def _without_doubles(found: NDArray[np.float64]) -> list[Detection]:
    """Of overlapping boxes of one shape the best alone."""
    kept: list[NDArray[np.float64]] = []
    for row in found[np.argsort(-found[:, 4], kind="stable")]:
        if all(row[5] != other[5] or iou(row, other) < SAME_IOU for other in kept):
            kept.append(row)
        if len(kept) == MOST:
            break
    return [Detection(int(row[5]), *(float(value) for value in row[:5])) for row in kept]


def iou(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    """Intersection over union of two boxes, each given as x, y (centre), width, height, first in its array."""
    overlap = np.minimum(a[:2] + a[2:4] / 2, b[:2] + b[2:4] / 2) - np.maximum(a[:2] - a[2:4] / 2, b[:2] - b[2:4] / 2)
    common = float(np.prod(np.maximum(overlap, 0)))
    return common / (float(np.prod(a[2:4])) + float(np.prod(b[2:4])) - common)
