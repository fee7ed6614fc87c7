"""Embedding: against the network alone, several encoders in one pass, reading ahead, memory against the patches."""

from __future__ import annotations

import csv
import json
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import patches as slides
from numpy.typing import NDArray

from measure import cost_of
from turns import in_turn, times

ROOT = Path(__file__).resolve().parents[2]
PATCHES, BATCH = 48, 16
FEW, MANY = 20_000, 200_000
# The three smallest networks of the table that need no weights.
SMALL = ("resnet-tiny-random", "dinov2-tiny-random", "musk-tiny-random")
JOBS_REPEATS = 3
# The section's spots so often, where it takes more than fit into one stretch of patches that are cut at a time.
TIMES = 16
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
    return [_network(folder), *_together(folder), _memory(folder)]


def _network(folder: Path) -> str:
    import torch

    from spotweave.embeddings.sample import write_embeddings
    from spotweave.networks.backbone import backbone
    from spotweave.networks.spec import EncoderSpec
    from spotweave.networks.transform import TorchEncoder

    torch.set_num_threads(1)
    spec = EncoderSpec.from_row(_rows()["resnet50-random"])
    encoder = TorchEncoder(backbone(spec, folder=None, seed=0), spec, "cpu")
    _file(folder / "pictures.h5", PATCHES, size=224)
    # The same pictures, as the network takes them.
    with h5py.File(folder / "pictures.h5") as file, torch.inference_mode():
        pictures = torch.from_numpy(file["img"][:])
        ready = [encoder.transform(pictures[start : start + BATCH]) for start in range(0, PATCHES, BATCH)]

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
    cost = in_turn({"alone": alone, "ours": ours})
    return (
        f"| {PATCHES} patches through resnet50-random, read, normalised and written, one thread: the forward pass"
        f" alone | {times(cost['alone'], cost['ours'])} all of it |"
    )


def _together(folder: Path) -> list[str]:
    """Three encoders in one pass against three, of pictures in the file and of pictures cut from a real section."""
    found = slides._slides(folder)
    if not found:
        return []
    name, slide, um, centres = found[0]
    kinds = {"read from their file": (folder / "with.h5", None), "cut from the slide": (folder / "bare.h5", slide)}
    _real(kinds["read from their file"][0], slide, um, centres, pictures=True)
    _real(kinds["cut from the slide"][0], slide, um, centres, pictures=False)
    lines = []
    for what, work, repeats in (
        (f"{', '.join(SMALL)}, as jobs", _as_jobs, JOBS_REPEATS),
        ("the same within one process", _within, 5),
        ("three networks that cost this core next to nothing, as on a GPU", _for_nothing, 5),
    ):
        ratios = []
        for kind, (patches, cut_from) in kinds.items():
            cost = work(folder, patches, cut_from, repeats)
            ratios.append(f"{times(cost['one'], cost['three'])} three passes, patches {kind}")
        lines.append(
            f"| {len(centres)} patches of a real {name} through three encoders in one pass, CPU: {what} |"
            f" {'; '.join(ratios)} |"
        )
    many = np.tile(centres, (TIMES, 1))
    _real(folder / "many.h5", slide, um, many, pictures=False)
    return [*lines, _ahead(folder, folder / "many.h5", slide, len(many))]


def _within(folder: Path, patches: Path, slide: Path | None, repeats: int) -> dict[str, list[float]]:
    from spotweave.embeddings.sample import embed_sample
    from spotweave.embeddings.together import Asked, embed_together

    def own() -> None:
        for name in SMALL:
            embed_sample(
                folder / f"{name}.h5", patches, _rows()[name], slide=slide, sample="s", encoder=name,
                scratch=folder / f"{name}.resume",
            )  # fmt: skip

    def together() -> None:
        asked = [Asked(_rows()[name], "", folder / f"{name}.resume") for name in SMALL]
        embed_together(asked, patches, slide=slide, sample="s", most=len(SMALL))
        own()

    own()
    return in_turn({"three": own, "one": together}, repeats)


def _as_jobs(folder: Path, patches: Path, slide: Path | None, repeats: int) -> dict[str, list[float]]:
    """CPU seconds with the start of every process."""
    more = [] if slide is None else ["--slide", str(slide)]
    read = ["--patches", str(patches), *more, "--sample", "s", "--record"]

    def script(name: str, *arguments: str) -> float:
        return cost_of([sys.executable, str(ROOT / f"scripts/{name}.py"), *arguments], folder).cpu_s

    def one(name: str) -> float:
        row, out = json.dumps(_rows()[name]), f"{name}.h5"
        options = ["--encoder", name, "--spec", row, "--embeddings", out, "--scratch", f"{out}.resume"]
        return script("embed_patches", *read, f"{name}.json", *options)

    def own() -> float:
        return sum(map(one, SMALL))

    def together() -> float:
        asked = [{"row": _rows()[name], "code": "", "scratch": f"{name}.h5.resume"} for name in SMALL]
        return script("embed_together", *read, "t.json", "--asked", json.dumps(asked), "--most", "3") + own()

    turns = [(own(), together()) for _ in range(repeats)]
    return {"three": [turn[0] for turn in turns], "one": [turn[1] for turn in turns]}


class _Mean:
    """A number a patch, of a few of its pixels; `wait_s` is what somebody else takes for a batch."""

    dim = 1

    def __init__(self, wait_s: float = 0) -> None:
        self.wait_s = wait_s

    def encode(self, batch: NDArray[np.uint8]) -> NDArray[np.float32]:
        time.sleep(self.wait_s)
        return batch[:, 0, 0, :1].astype(np.float32)


def _pass(folder: Path, patches: Path, slide: Path | None, *encoders: _Mean, ahead: bool = False) -> None:
    from spotweave.embeddings.sample import write_embeddings

    named = {f"fold{number}/embeddings": one for number, one in enumerate(encoders)}
    write_embeddings(
        folder / "out.h5", patches, named, slide=slide, sample="s", encoder="e", batch=64, scratch=folder / "rows",
        ahead=ahead,
    )  # fmt: skip


def _for_nothing(folder: Path, patches: Path, slide: Path | None, repeats: int) -> dict[str, list[float]]:
    def three() -> None:
        for _ in range(3):
            _pass(folder, patches, slide, _Mean())

    return in_turn({"three": three, "one": lambda: _pass(folder, patches, slide, _Mean(), _Mean(), _Mean())}, repeats)


def _ahead(folder: Path, patches: Path, slide: Path, count: int) -> str:
    """Wall time: a network elsewhere, stood in for by waiting, takes as long for a batch as cutting it does."""

    def wall_s(work: Callable[[], None]) -> float:
        start = time.perf_counter()
        work()
        return time.perf_counter() - start

    alone = statistics.median(wall_s(lambda: _pass(folder, patches, slide, _Mean())) for _ in range(3))
    waiting = _Mean(alone / (count / 64))
    turns = [
        [wall_s(lambda ahead=ahead: _pass(folder, patches, slide, waiting, ahead=ahead)) for ahead in (True, False)]
        for _ in range(5)
    ]
    return (
        f"| {count} patches cut from the slide by a thread of their own, while a network elsewhere takes as long as"
        f" cutting (a wait stands in for it), wall | {times(*map(list, zip(*turns, strict=True)))} as without |"
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


def _rows() -> dict[str, dict[str, str]]:
    with open(ROOT / "config/encoders.csv", newline="") as handle:
        return {row["encoder"]: row for row in csv.DictReader(handle)}


def _real(path: Path, slide: Path, um: float, centres: NDArray[np.float64], *, pictures: bool) -> None:
    """A file of the section's patches, with their pictures or without."""
    from spotweave.slide.levels import Pyramid
    from spotweave.slide.patch_files import PatchWriter
    from spotweave.slide.patches import Cutter, PatchGrid

    opened, grid = Pyramid(slide), PatchGrid(centres, 224, 0.5, um)
    names = [f"{row}x1" for row in range(len(centres))]
    padded = grid.padded(opened.width_px, opened.height_px)
    with PatchWriter(path, grid, names, padded, "s", pictures=pictures) as written:
        cutter = Cutter(opened, [grid])
        for row in cutter.order() if pictures else ():
            written.put(int(row), cutter.cut(int(row))[0])


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
