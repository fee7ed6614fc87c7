"""Training spots whose genes can be told from their patches, for every learned method."""

import h5py
import numpy as np

from spotweave.methods import Pictures, Sample, Training, TrainingSample

PITCH_PX = 40.0
UM_PER_PX = 0.5


def patch_file(path, spots, images, um_per_px=UM_PER_PX):
    """As the workflow leaves it, as far as methods look."""
    with h5py.File(path, "w") as file:
        file["img"] = images
        file["coords"] = np.zeros((len(spots), 2), np.int64)
        file["coords"].attrs.update({"pixel_size": um_per_px, "pixel_size_target": um_per_px})
        names = np.array(spots, dtype=object).reshape(-1, 1)
        file.create_dataset("barcode", data=names, dtype=h5py.string_dtype())
    return path


def lattice(count, columns):
    """(N, 2) places in px of spots row by row, the last row perhaps not full."""
    rows, across = np.divmod(np.arange(count), columns)
    return np.column_stack([across, rows]) * PITCH_PX + 17.0


def pictured(folder, name, count, *, columns=6, size=32, seed=0):
    """A sample on a lattice, and (N, 5) colours and gradients of its patches."""
    draw = np.random.default_rng(seed)
    told = draw.uniform(-1, 1, (count, 5))
    ramp = np.linspace(-1, 1, size)
    images = 128 + 60 * told[:, None, None, :3] + np.zeros((count, size, size, 3))
    images += (
        40 * told[:, 3, None, None, None] * ramp[:, None, None] + 40 * told[:, 4, None, None, None] * ramp[:, None]
    )
    images = np.clip(images + draw.normal(0, 2, images.shape), 0, 255).astype(np.uint8)
    spots = [f"{name}{row}" for row in range(count)]
    folder.mkdir(parents=True, exist_ok=True)
    pictures = Pictures(patch_file(folder / f"{name}.h5", spots, images))
    return Sample(name, name.upper(), spots, lattice(count, columns), pictures), told


def cohort(folder, sizes=(18, 14), genes=8, seed=0, inner=True):
    """Training whose genes are linear in what the patches show, and no noise.

    `inner` holds samples out in turn; without it nothing is held out, and the last epoch is kept.
    """
    weights = np.random.default_rng(99).normal(0, 1, (5, genes))
    samples = []
    for number, count in enumerate(sizes):
        sample, told = pictured(folder, "ab"[number], count, seed=seed + number)
        expression = 3 + told @ weights
        counts = np.rint(np.exp(expression))
        fold = np.full(count, number if inner else 0)
        samples.append(TrainingSample(sample, expression, counts, counts.sum(axis=1) + 40, fold))
    return Training(samples, [f"G{gene}" for gene in range(genes)], "log_share", "sample")
