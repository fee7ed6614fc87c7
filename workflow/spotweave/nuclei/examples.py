"""What a network that finds nuclei learns from: a pool of drawn scenes on a disk, and examples cut from it.

Scenes take long to draw and little to print: they are drawn once, and every example is a print of its own.
"""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from spotweave import io
from spotweave.simulate.nuclei_scenes.noise import SIDE_PX, UM_PER_PX, Floats, Rng, log_uniform
from spotweave.simulate.nuclei_scenes.printing import compressed, draw_print, printed
from spotweave.simulate.nuclei_scenes.scene import draw_scene

FIRST_SEED = 10_000
EXAMPLE_PX = 128
REDUCTION = 2  # scene pixels of an example's pixel, more or less a quarter
DISTANCE_LEVELS = 255
BETWEEN_WEIGHT = 4  # of pixels between nuclei that nearly touch: what keeps them apart
BETWEEN_PX = 9  # diameter of the disc within which there are two nuclei
COARSE_SHARE = 0.25  # of examples are of a coarser scan, enlarged
BEST_LATE_QUALITY, LATE_QUALITY_ADDED = 97, 20  # JPEG of what is reduced first


class Targets(NamedTuple):
    """What is to be learned of a scene, (height, width) uint8.

    Attributes
    ----------
    foreground
        1 in nuclei.
    distance
        Distance to the edge of a nucleus as a share of its own largest, of 255.
    weight
        0 where nothing is asked, 4 between nuclei that nearly touch, 1 elsewhere.
    """

    foreground: NDArray[np.uint8]
    distance: NDArray[np.uint8]
    weight: NDArray[np.uint8]


class Example(NamedTuple):
    """A print and what is to be learned of it, float32.

    Attributes
    ----------
    picture
        (EXAMPLE_PX, EXAMPLE_PX, 3): RGB from -1 to 1, about 0.5 um a pixel.
    foreground, distance, weight
        (EXAMPLE_PX, EXAMPLE_PX): as `Targets`, reduced; foreground and distance from 0 to 1.
    """

    picture: Floats
    foreground: Floats
    distance: Floats
    weight: Floats


class Part(NamedTuple):
    """Scenes of a pool and their targets, each (scenes, SIDE_PX, SIDE_PX): three float16, three uint8."""

    haematoxylin: NDArray[Any]
    eosin: NDArray[Any]
    red_cells: NDArray[Any]
    foreground: NDArray[Any]
    distance: NDArray[Any]
    weight: NDArray[Any]


Pool = list[Part]


def targets(labels: NDArray[np.int32], unclear: NDArray[np.bool_]) -> Targets:
    """Targets of nuclei's labels (0 is none) and of where nothing is asked; both (height, width)."""
    edge = np.zeros(labels.shape, bool)
    for one, other in ((np.s_[:, 1:], np.s_[:, :-1]), (np.s_[1:], np.s_[:-1])):
        differ = labels[one] != labels[other]
        edge[one] |= differ
        edge[other] |= differ
    inner = ((labels > 0) & ~edge).astype(np.uint8)
    distance_px = cv2.distanceTransform(inner, cv2.DIST_L2, 5)
    largest_px = np.zeros(labels.max() + 1)
    np.maximum.at(largest_px, labels.ravel(), distance_px.ravel())
    share = distance_px / np.maximum(largest_px[labels], 1e-3)
    between = _two_near(labels) & ((labels == 0) | edge)
    weight = np.where(unclear, 0, np.where(between, BETWEEN_WEIGHT, 1)).astype(np.uint8)
    return Targets((labels > 0).astype(np.uint8), np.rint(share * DISTANCE_LEVELS).astype(np.uint8), weight)


def _two_near(labels: NDArray[np.int32]) -> NDArray[np.bool_]:
    """Whether there are two nuclei in the disc around a pixel: the largest label there is not the smallest."""
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (BETWEEN_PX, BETWEEN_PX))
    numbers = labels.astype(np.float32)
    none = np.float32(1e9)
    largest = cv2.dilate(numbers, disc)
    smallest = cv2.erode(np.where(labels > 0, numbers, none), disc)
    return (largest > 0) & (largest != smallest)


def _drawn(seed: int) -> Part:
    """A scene and its targets as a pool has them, each (SIDE_PX, SIDE_PX)."""
    scene = draw_scene(seed)
    concentrations = (scene.haematoxylin, scene.eosin, scene.red_cells)
    learned = targets(scene.labels, scene.unclear)
    return Part._make([*(field.astype(np.float16) for field in concentrations), *learned])


def _one_thread() -> None:
    cv2.setNumThreads(1)


def draw_pool(folder: Path, scenes: int, parts: int = 2, processes: int = 1) -> None:
    """Draw scenes and write them as memory maps, `part<number>_<array>.npy`; the same whatever the processes.

    Parameters
    ----------
    folder
        Made where it is missing; what it has of these files is replaced.
    scenes
        Scenes of each part: 3.7 MB each.
    processes
        Workers of one thread each, started anew (spawn); with 1, scenes are drawn in this process.
    """
    folder.mkdir(parents=True, exist_ok=True)
    seeds = range(FIRST_SEED, FIRST_SEED + parts * scenes)
    with tqdm(total=len(seeds), desc="draw", unit=" scenes", disable=None) as progress:
        if processes == 1:
            _write(folder, scenes, map(_drawn, seeds), parts, progress)
            return
        context = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(processes, mp_context=context, initializer=_one_thread) as workers:
            _write(folder, scenes, workers.map(_drawn, seeds, chunksize=4), parts, progress)


def _write(folder: Path, scenes: int, drawn: Iterator[Part], parts: int, progress: tqdm) -> None:
    for part in range(parts):
        paths = [path_of(folder, part, name) for name in Part._fields]
        begun = [io.own_part_path(path) for path in paths]
        kinds = [np.float16] * 3 + [np.uint8] * 3
        arrays = [
            np.lib.format.open_memmap(path, "w+", kind, (scenes, SIDE_PX, SIDE_PX))
            for path, kind in zip(begun, kinds, strict=True)
        ]
        for place in range(scenes):
            for array, values in zip(arrays, next(drawn), strict=True):
                array[place] = values
            progress.update()
        for array, own, path in zip(arrays, begun, paths, strict=True):
            array.flush()
            own.replace(path)


def path_of(folder: Path, part: int, name: str) -> Path:
    """Where an array of a part of a pool is."""
    return folder / f"part{part}_{name}.npy"


def open_pool(folder: Path) -> Pool:
    """The pool that `draw_pool` wrote, mapped and not read."""
    count = len(list(folder.glob(path_of(folder, 0, "weight").name.replace("0", "*"))))
    return [
        Part(*(np.load(path_of(folder, part, name), mmap_mode="r") for name in Part._fields)) for part in range(count)
    ]


def example(pool: Pool, rng: Rng) -> Example:
    """One example: a window of a scene, printed, at 0.4-0.65 um a pixel, turned and mirrored by chance."""
    part = pool[rng.integers(len(pool))]
    place = rng.integers(len(part.weight))
    side_px = int(np.clip(EXAMPLE_PX * REDUCTION * log_uniform(rng, 0.8, 1.25), 0, SIDE_PX - 1))
    y, x = rng.integers(0, SIDE_PX - side_px, 2)
    window = Part(*(np.ascontiguousarray(array[place, y : y + side_px, x : x + side_px]) for array in part))
    size = (EXAMPLE_PX, EXAMPLE_PX)
    picture = _reduced_print(rng, window)
    found: tuple[NDArray[Any], ...] = (
        picture.astype(np.float32) / 255 * 2 - 1,
        cv2.resize(window.foreground.astype(np.float32), size, interpolation=cv2.INTER_AREA),
        cv2.resize(window.distance.astype(np.float32) / DISTANCE_LEVELS, size, interpolation=cv2.INTER_AREA),
        cv2.resize(window.weight, size, interpolation=cv2.INTER_NEAREST).astype(np.float32),
    )
    quarters, mirrored = rng.integers(4), rng.random() < 0.5
    turned = (np.rot90(array, int(quarters)) for array in found)
    return Example(*(np.ascontiguousarray(array[::-1] if mirrored else array) for array in turned))


def _reduced_print(rng: Rng, window: Part) -> NDArray[Any]:
    """(EXAMPLE_PX, EXAMPLE_PX, 3) uint8: a window of a scene, printed and reduced."""
    look = draw_print(rng)
    haematoxylin, eosin, red_cells = (array.astype(np.float32) for array in window[:3])
    picture: NDArray[Any] = printed(rng, haematoxylin, eosin, red_cells, look)
    if rng.random() < COARSE_SHARE:
        coarse_px = max(32, int(len(picture) * UM_PER_PX / rng.uniform(0.45, 0.8)))
        picture = cv2.resize(picture, (coarse_px, coarse_px), interpolation=cv2.INTER_AREA)
        picture = cv2.resize(picture, (EXAMPLE_PX, EXAMPLE_PX), interpolation=cv2.INTER_CUBIC)
    else:
        picture = cv2.resize(picture, (EXAMPLE_PX, EXAMPLE_PX), interpolation=cv2.INTER_AREA)
    if look.reduced_first:
        picture = compressed(
            np.asarray(picture, np.uint8), min(BEST_LATE_QUALITY, look.jpeg_quality + LATE_QUALITY_ADDED)
        )
    return picture


class Examples:
    """Examples without end, `next` gives one; the same for the same pool and state of `rng`."""

    def __init__(self, folder: Path, rng: Rng):
        self.pool = open_pool(folder)
        self.rng = rng

    def __iter__(self) -> Iterator[Example]:
        return self

    def __next__(self) -> Example:
        return example(self.pool, self.rng)
