"""Demo samples of Xenium and Visium HD as their publishers would file them, with their truth beside them."""

from __future__ import annotations

import gzip
import shutil
import tarfile
import zipfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from spotweave.io import write_json
from spotweave.simulate.section_pair import Pair, draw_pair

SIZE_UM = (1504.0, 1504.0)  # a multiple of the largest bin
DAPI_PIXEL_SIZE_UM = 0.85  # four times the instrument's, so that the demo is small
COARSE_DAPI_UM = 8.0  # for Visium HD, which has no such picture
LONG_AGO = (1980, 1, 1, 0, 0, 0)
FILED_AT_10X = "{product}/{version}/{name}/{name}_{ending}"


def write_xenium(files: Path, truth_folder: Path, sample_id: str, arguments: dict[str, Any]) -> None:
    """One Xenium section as 10x Genomics files it.

    `arguments`: `seed`, `donor`, `onboard` (name of a `Version` in `simulate.xenium`), `alignment` (as in
    `write_section`), `filed_as` (version and name of the dataset), `pair` (more of `draw_pair`).
    """
    from spotweave.simulate import xenium
    from spotweave.simulate.xenium_section import draw_section, write_section

    seed, donor = arguments["seed"], arguments["donor"]
    pair = _pair(seed, donor, DAPI_PIXEL_SIZE_UM, arguments["pair"])
    section = draw_section(pair, seed, donor=donor)
    folder = files / sample_id
    version = getattr(xenium, arguments["onboard"])
    written = write_section(folder, section, version, alignment=arguments["alignment"])
    number, name = arguments["filed_as"]
    apart = {"image": "he_image.ome.tif", "alignment": "he_imagealignment.csv"}
    target = files / FILED_AT_10X.format(product="xenium", version=number, name=name, ending="outs.zip")
    target.parent.mkdir(parents=True)
    for role, ending in apart.items():
        if role in written:
            written[role].rename(target.with_name(f"{name}_{ending}"))
    _zip(target, folder, sorted(path for role, path in written.items() if role not in apart))
    shutil.rmtree(folder)
    _write_truth(truth_folder / f"{sample_id}.json", pair, seed, donor)


def write_visium_hd(files: Path, truth_folder: Path, sample_id: str, arguments: dict[str, Any]) -> None:
    """One Visium HD section as 10x Genomics files it.

    `arguments`: `seed`, `donor`, `sizes` (um), `software`, `filed_as` (version and name of the dataset), `pair` (more
    of `draw_pair`).
    """
    from spotweave.simulate.visium_hd_section import draw_section, write_section

    seed, donor = arguments["seed"], arguments["donor"]
    pair = _pair(seed, donor, COARSE_DAPI_UM, arguments["pair"])
    section = draw_section(pair, seed, donor=donor)
    folder = files / sample_id
    written = write_section(folder, section, sizes=arguments["sizes"], software=arguments["software"])
    number, name = arguments["filed_as"]
    ending = "binned_outputs.tar.gz"
    target = files / FILED_AT_10X.format(product="spatial-exp", version=number, name=name, ending=ending)
    target.parent.mkdir(parents=True)
    (folder / "tissue_image.tif").rename(target.with_name(f"{name}_tissue_image.tif"))
    own = (path for roles in written.values() for role, path in roles.items() if role != "image")
    _tar(target, folder, sorted(own))
    shutil.rmtree(folder)
    _write_truth(truth_folder / f"{sample_id}.json", pair, seed, donor)


def _pair(seed: int, donor: int, dapi_pixel_size_um: float, more: dict[str, Any]) -> Pair:
    return draw_pair(seed, donor=donor, size_um=SIZE_UM, dapi_pixel_size_um=dapi_pixel_size_um, **more)


def _write_truth(path: Path, pair: Pair, seed: int, donor: int) -> None:
    facts = {
        "simulated": True,
        "seed": seed,
        "donor": donor,
        "pixel_size_um": pair.he_pixel_size_um,
        "matrix": pair.warp.matrix.tolist(),
        "waves": pair.warp.waves.tolist(),
        "removed": pair.warp.removed.tolist(),
        "matrix_maps": "instrument um, after the waves less the affine map removed from them, to px of the H&E",
        "best_affine": pair.best_affine().tolist(),
        "nuclei": len(pair.nuclei_um),
    }
    write_json(path, facts)


def _zip(target: Path, folder: Path, paths: Iterable[Path]) -> None:
    """An archive of files below a folder; they are packed already."""
    with zipfile.ZipFile(target, "w", zipfile.ZIP_STORED) as archive:
        for path in paths:
            member = zipfile.ZipInfo(path.relative_to(folder).as_posix(), LONG_AGO)
            archive.writestr(member, path.read_bytes())


def _tar(target: Path, folder: Path, paths: Iterable[Path]) -> None:
    """The same as `.tar.gz`."""
    with (
        target.open("wb") as raw,
        gzip.GzipFile("", "wb", 6, raw, mtime=0) as packed,
        tarfile.open(fileobj=packed, mode="w") as archive,
    ):
        for path in paths:
            member = tarfile.TarInfo(path.relative_to(folder).as_posix())
            member.size = path.stat().st_size
            with path.open("rb") as handle:
                archive.addfile(member, handle)
