"""HEST-Benchmark's released folder, written small, and taken by the workflow's scripts as its jobs call them."""

import anndata
import gather_released
import h5py
import numpy as np
import pandas as pd
import split_released
import take_released
from scipy.sparse import csr_matrix

from spotweave.io import read_json

SIDE = 32


def write_patches(path, barcodes, images):
    path.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(path, "w") as file:
        file["img"] = images
        file["coords"] = np.arange(2 * len(barcodes)).reshape(-1, 2)
        file["coords"].attrs["patch_size_target"] = images.shape[1]
        names = np.array(barcodes, dtype=object).reshape(-1, 1)
        file.create_dataset("barcode", data=names, dtype=h5py.string_dtype())


def write_counts(path, barcodes, genes, counts):
    path.parent.mkdir(parents=True, exist_ok=True)
    obs, var = (pd.DataFrame(index=pd.Index(names, dtype=object)) for names in (barcodes, genes))
    anndata.AnnData(csr_matrix(counts), obs=obs, var=var).write_h5ad(path)


def write_splits(folder, folds):
    (folder / "splits").mkdir(parents=True, exist_ok=True)
    for number, sides in enumerate(folds):
        for side, names in zip(("train", "test"), sides, strict=True):
            rows = [f"{name},patches/{name}.h5,adata/{name}.h5ad" for name in names]
            text = "\n".join(["sample_id,patches_path,expr_path", *rows, ""])
            (folder / f"splits/{side}_{number}.csv").write_text(text)


def write_root(root):
    """One task: three samples of unlike size, spots of the counts in another order than patches."""
    rng = np.random.default_rng(4)
    genes = ["G3", "G1", "OTHER", "G2"]
    for name, spots in (("Z1", 13), ("A2", 17), ("M3", 11)):
        barcodes = [f"{row:03d}x001" for row in range(spots)]
        images = rng.integers(0, 255, (spots, SIDE, SIDE, 3), dtype=np.uint8)
        write_patches(root / f"T/patches/{name}.h5", barcodes, images)
        order = rng.permutation(spots)
        counts = np.arange(spots)[:, None] * 10 + np.arange(4)
        write_counts(root / f"T/adata/{name}.h5ad", [barcodes[at] for at in order], genes, counts[order])
    write_splits(root / "T", [(["Z1", "A2"], ["M3"]), (["M3"], ["Z1", "A2"])])
    (root / "T/var_50genes.json").write_text('{"genes": ["G2", "G1", "G3"]}')


def take(root, name, sample, folder, size_px=SIDE, um_per_px=0.5, *more):
    """Run `take_released` on one sample; the folder of its outputs."""
    made = {"patches": "patches.h5", "targets": "targets.h5", "alignment": "alignment.json", "record": "record.json"}
    said = ["--root", str(root), "--name", name, "--sample", sample, "--size-px", str(size_px)]
    said += ["--um-per-px", str(um_per_px), *more]
    said += [word for option, file in made.items() for word in (f"--{option}", str(folder / file))]
    take_released.stage.run(take_released.work, said)
    return folder


def gather(root, name, taken):
    """Run `split_released` and `gather_released` on samples that were taken; splits and the path of the targets."""
    splits, targets = root / "splits.json", root / "targets.h5"
    folder = str(next(iter(taken.values())).parent / "{sample}")
    asked = ["--samples", *taken]
    said = ["--root", str(root), "--name", name, "--task", "released-t", "--records", f"{folder}/record.json"]
    split_released.stage.run(split_released.work, [*said, *asked, "--splits", str(splits)])
    said = ["--splits", str(splits), "--of-sample", f"{folder}/targets.h5", *asked, "--targets", str(targets)]
    gather_released.stage.run(gather_released.work, said)
    return read_json(splits), targets
