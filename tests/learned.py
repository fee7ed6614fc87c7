"""Training spots whose genes can be told from their patches, for every learned method."""

import h5py
import numpy as np

from spotweave.methods import Pictures, Sample, Training, TrainingSample, Vectors

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


def embedded(name, count, *, columns=6, dim=24, seed=0):
    """A sample with an encoder's vectors and no patches, and the (N, 5) numbers that they tell, rotated and scaled."""
    draw = np.random.default_rng(seed)
    told = draw.uniform(-1, 1, (count, 5))
    turned = np.linalg.qr(np.random.default_rng(98).normal(size=(dim, dim)))[0][:5]
    features = (0.02 * told @ turned + 7 + draw.normal(0, 1e-4, (count, dim))).astype(np.float32)
    spots = [f"{name}{row}" for row in range(count)]
    # In another order than the spots, with one that is no spot.
    order = np.random.default_rng(seed + 1).permutation(count)
    rows = {spots[spot]: row + 1 for row, spot in enumerate(order)} | {"elsewhere": 0}
    features = np.concatenate([np.full((1, dim), 99, np.float32), features[order]])
    vectors = Vectors("some-encoder", rows, features)
    return Sample(name, name.upper(), spots, lattice(count, columns), vectors=vectors), told


def embedded_cohort(sizes=(18, 14), genes=8, seed=0, inner=True):
    """As `cohort`, of vectors."""
    weights = np.random.default_rng(99).normal(0, 1, (5, genes))
    made = [embedded("ab"[number], count, seed=seed + number) for number, count in enumerate(sizes)]
    return _training(made, weights, genes, inner)


def cohort(folder, sizes=(18, 14), genes=8, seed=0, inner=True):
    """Training whose genes are linear in what the patches show, and no noise.

    `inner` holds samples out in turn; without it nothing is held out, and the last epoch is kept.
    """
    weights = np.random.default_rng(99).normal(0, 1, (5, genes))
    made = [pictured(folder, "ab"[number], count, seed=seed + number) for number, count in enumerate(sizes)]
    return _training(made, weights, genes, inner)


def _training(made, weights, genes, inner):
    samples = []
    for number, (sample, told) in enumerate(made):
        expression = 3 + told @ weights
        counts = np.rint(np.exp(expression))
        fold = np.full(len(told), number if inner else 0)
        samples.append(TrainingSample(sample, expression, counts, counts.sum(axis=1) + 40, fold))
    return Training(samples, [f"G{gene}" for gene in range(genes)], "log_share", "sample")
