"""Embedding against the network alone, and its memory against the number of patches."""

from __future__ import annotations

import sys
from pathlib import Path

import h5py
import numpy as np

from measure import cost_of
from turns import in_turn, times

ROOT = Path(__file__).resolve().parents[2]
PATCHES, BATCH = 48, 16
FEW, MANY = 20_000, 200_000
# A network that costs next to nothing, in the process that a network's job is.
MEMORY = """
import sys
sys.path.insert(0, {workflow!r})
import torch
from pathlib import Path
from spotweave.embeddings.sample import write_embeddings
from spotweave.networks.spec import EncoderSpec
from spotweave.networks.transform import TorchEncoder
torch.set_num_threads(1)
network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(16 * 16 * 3, 512))
encoder = TorchEncoder(network, EncoderSpec("small", "timm_model", 512, 16), "cpu")
folder = Path({folder!r})
write_embeddings(folder / "out.h5", folder / "{count}.h5", {{"embeddings": encoder}}, sample="s", encoder="e",
                 batch=256, scratch=folder / "rows")
"""


def bench_embedding(folder: Path) -> list[str]:
    """Lines of the table."""
    return [_network(folder), _memory(folder)]


def _network(folder: Path) -> str:
    import torch

    from spotweave.embeddings.sample import write_embeddings
    from spotweave.networks.backbone import backbone
    from spotweave.networks.spec import EncoderSpec
    from spotweave.networks.transform import TorchEncoder

    torch.set_num_threads(1)
    spec = EncoderSpec(
        "resnet50-random", "timm_model", 1024, 224, architecture="resnet50", weights="random", pool="stage3",
        mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225),
    )  # fmt: skip
    encoder = TorchEncoder(backbone(spec, folder=None, seed=0), spec, "cpu")
    _file(folder / "pictures.h5", PATCHES, size=224)
    # In the layout that patches have, which convolutions prefer.
    ready = [torch.rand(BATCH, 224, 224, 3).permute(0, 3, 1, 2) for _ in range(PATCHES // BATCH)]

    def alone() -> None:
        with torch.inference_mode():
            for images in ready:
                encoder.network(images)

    def ours() -> None:
        write_embeddings(
            folder / "out.h5", folder / "pictures.h5", {"embeddings": encoder}, sample="s", encoder="e", batch=BATCH,
            scratch=folder / "rows",
        )  # fmt: skip

    alone()
    cost = in_turn({"alone": alone, "ours": ours}, 3)
    return (
        f"| {PATCHES} patches through resnet50, read, normalised and written, one thread |"
        f" {times(cost['ours'], cost['alone'])} the forward pass alone |"
    )


def _memory(folder: Path) -> str:
    peaks = []
    for count in (FEW, MANY):
        _file(folder / f"{count}.h5", count, size=16)
        program = MEMORY.format(workflow=str(ROOT / "workflow"), folder=str(folder), count=count)
        peaks.append(cost_of([sys.executable, "-c", program], folder).peak_mb)
        (folder / f"{count}.h5").unlink()
    return (
        f"| memory of embedding {MANY:,} patches (512 numbers each) | {peaks[1]:,.0f} MB:"
        f" {peaks[1] / peaks[0]:.2f} times that of {FEW:,} ({peaks[0]:,.0f} MB) |"
    )


def _file(path: Path, count: int, size: int) -> None:
    """Patches of noise, with names."""
    draw = np.random.default_rng(count)
    with h5py.File(path, "w") as file:
        images = file.create_dataset("img", (count, size, size, 3), np.uint8, chunks=(1, size, size, 3))
        for start in range(0, count, 4096):
            some = min(4096, count - start)
            images[start : start + some] = draw.integers(0, 256, (some, size, size, 3), dtype=np.uint8)
        names = np.array([f"{row}x1" for row in range(count)], dtype=object).reshape(-1, 1)
        file.create_dataset("barcode", data=names, dtype=h5py.string_dtype())
