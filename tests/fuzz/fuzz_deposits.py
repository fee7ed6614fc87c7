"""The deposits that are mutated: every technology and container, tiny, and small real ones where they are at hand."""

from __future__ import annotations

import gzip
import io
import shutil
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

REAL = Path(__file__).resolve().parents[2].parent / "shared/data"
PICTURE_PX = (260, 200)

ST_V1 = ("selection", "packed", "commas", "genes_in_rows", "keys", "meta", "transform", "joint")
VISIUM = (
    "space_ranger_1",
    "space_ranger_2",
    "h5_layout_2",
    "geo_packed",
    "mex",
    "mex_2",
    "csv_genes_by_spots",
    "tsv_spots_by_genes",
    "positions_parquet",
    "h5ad",
    "h5ad_layer",
    "h5ad_raw",
    "h5ad_dense",
    "h5ad_with_positions",
    "joint_h5ad",
    "antibodies_h5",
    "cytassist",
)
VISIUM_HD = ("square_016um", "mex", "positions_csv", "packed_h5", "cells", "cells_named", "cells_mex")
XENIUM = ("xoa_1_0", "xoa_1_0_text", "xoa_2_0_geo", "xoa_3_0", "xoa_4_0", "no_alignment")


@dataclass(frozen=True)
class Deposit:
    """Files by role; `reader` is the technology's, or `picture` for a picture alone."""

    name: str
    reader: str
    files: dict[str, Path]
    member: str | None = None
    is_real: bool = False

    def role_of(self, file: Path) -> str:
        """The first role that a file fills."""
        return next(role for role, path in self.files.items() if path == file)


def write_all(folder: Path) -> list[Deposit]:
    """Write every simulated deposit below `folder` and copy the real ones."""
    return [*_simulated(folder), *_pictures(folder / "pictures"), *_real(folder / "real")]


def _simulated(folder: Path) -> list[Deposit]:
    from spotweave.simulate import st_v1_layouts, visium_hd, visium_layouts, xenium, xenium_layouts

    made = []
    for name in ST_V1:
        layout = st_v1_layouts.VARIANTS[name]
        files = layout.write(_new(folder / "st_v1" / name), st_v1_layouts.draw_truth())
        made.append(Deposit(f"st_v1/{name}", "st_v1", files, layout.member))
    for name in VISIUM:
        kind = visium_layouts.VARIANTS[name]
        files = kind.write(_new(folder / "visium" / name), kind.truth(whole_array=False))
        made.append(Deposit(f"visium/{name}", "visium", files, kind.member))
    bins = visium_hd.draw_truth()
    for name in VISIUM_HD:
        hd = visium_hd.VARIANTS[name]
        files = hd.write(_new(folder / "visium_hd" / name), bins)
        made.append(Deposit(f"visium_hd/{name}", "visium_hd", files, hd.member))
    cells = xenium.draw_truth()
    for name in XENIUM:
        files = xenium_layouts.VARIANTS[name].write(_new(folder / "xenium" / name), cells)
        made.append(Deposit(f"xenium/{name}", "xenium", files))
    return made


def _pictures(folder: Path) -> list[Deposit]:
    """One section in every form that pictures come in: a tissue of its own colours, nuclei, glass around it."""
    import tifffile
    from PIL import Image

    _new(folder)
    rgb = _section()
    picture = Image.fromarray(rgb)
    rgba = np.dstack([rgb, np.full(rgb.shape[:2], 255, np.uint8)])
    pages = [rgb, rgb[::2, ::2], rgb[::4, ::4]]
    tags = {"photometric": "rgb", "resolution": (20000, 20000), "resolutionunit": "CENTIMETER"}

    def pyramid(path: Path, **more: object) -> None:
        with tifffile.TiffWriter(path) as file:
            for level, page in enumerate(pages):
                file.write(page, tile=(64, 64), subfiletype=min(level, 1), **tags, **more)

    def ome(path: Path) -> None:
        metadata = {"axes": "YXS", "PhysicalSizeX": 0.5, "PhysicalSizeY": 0.5}
        with tifffile.TiffWriter(path, ome=True) as file:
            file.write(rgb, subifds=1, metadata=metadata, **tags)
            file.write(pages[1], subfiletype=1, **tags)

    made: dict[str, Callable[[Path], object]] = {
        "strips.tif": lambda path: tifffile.imwrite(path, rgb, **tags),
        "deflate.tif": lambda path: tifffile.imwrite(path, rgb, compression="zlib", **tags),
        "pyramid.tif": pyramid,
        "jpeg_tiles.tif": lambda path: pyramid(path, compression="jpeg"),
        "big.btf": lambda path: tifffile.imwrite(path, rgb, bigtiff=True, **tags),
        "sixteen.tif": lambda path: tifffile.imwrite(path, rgb.astype(np.uint16) * 257, **tags),
        "alpha.tif": lambda path: tifffile.imwrite(path, rgba, extrasamples=["unassalpha"], **tags),
        "planes.ome.tif": ome,
        "section.png": picture.save,
        "sixteen.png": lambda path: _write_png_16(path, rgb),
        "section.jpg": lambda path: picture.save(path, quality=90, dpi=(254, 254)),
        "progressive.jpg": lambda path: picture.save(path, quality=80, progressive=True),
    }
    deposits = []
    for name, write in made.items():
        path = folder / name
        write(path)
        deposits.append(Deposit(f"picture/{name}", "picture", {"image": path}))
    return deposits


def _section() -> np.ndarray:
    rng = np.random.default_rng(3)
    width, height = PICTURE_PX
    y, x = np.mgrid[:height, :width]
    is_tissue = ((x - 130) / 90) ** 2 + ((y - 100) / 70) ** 2 < 1
    rgb = np.full((height, width, 3), 240.0)
    rgb[is_tissue] = (214, 130, 170)
    rgb[is_tissue & (rng.random((height, width)) < 0.15)] = (90, 50, 130)
    return np.clip(rgb + rng.normal(0, 3, rgb.shape), 0, 255).astype(np.uint8)


def _write_png_16(path: Path, rgb: np.ndarray) -> None:
    def chunk(kind: bytes, body: bytes) -> bytes:
        return len(body).to_bytes(4, "big") + kind + body + zlib.crc32(kind + body).to_bytes(4, "big")

    height, width = rgb.shape[:2]
    header = width.to_bytes(4, "big") + height.to_bytes(4, "big") + bytes([16, 2, 0, 0, 0])
    rows = io.BytesIO()
    for row in rgb.astype(">u2") * 257:
        rows.write(b"\0" + row.astype(">u2").tobytes())
    body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows.getvalue())) + chunk(b"IEND", b"")
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + body)


def _real(folder: Path) -> list[Deposit]:
    """The smallest real files, with the roles they have; nothing where they are not at hand."""
    brain = REAL / "visium_mouse_brain_anterior"
    outs = REAL / "visium_mouse_brain_posterior_outs"
    bins = REAL / "visium_hd_schema/binned_outputs/square_002um"
    mex = {"counts": "matrix.mtx.gz", "features": "features.tsv.gz", "barcodes": "barcodes.tsv.gz"}
    listed: list[tuple[str, str, dict[str, Path]]] = [
        ("her2st", "st_v1", {"counts": REAL / "her2st/B4.tsv.gz", "spots": REAL / "her2st/B4_selection.tsv"}),
        ("mob", "st_v1", {"counts": REAL / "mob/MOB1.tsv.gz", "spots": REAL / "mob/alignment_table_MOB1.tsv"}),
        (
            "brain_anterior",
            "visium",
            {
                "counts": brain / "filtered_feature_bc_matrix.h5",
                "spots": brain / "spatial/tissue_positions_list.csv",
                "scalefactors": brain / "spatial/scalefactors_json.json",
            },
        ),
        (
            "brain_posterior",
            "visium",
            {
                **{role: outs / "filtered_feature_bc_matrix" / name for role, name in mex.items()},
                "spots": outs / "spatial/tissue_positions_list.csv",
                "scalefactors": outs / "spatial/scalefactors_json.json",
            },
        ),
        (
            "hd_schema",
            "visium_hd",
            {
                "counts": bins / "filtered_feature_bc_matrix.h5",
                "spots": bins / "spatial/tissue_positions.parquet",
                "scalefactors": bins / "spatial/scalefactors_json.json",
            },
        ),
        ("lowres_png", "picture", {"image": outs / "spatial/tissue_lowres_image.png"}),
        ("mob_jpg", "picture", {"image": REAL / "mob/MOB3.jpg"}),
    ]
    made = []
    for name, reader, files in listed:
        if not all(path.is_file() for path in files.values()):
            continue
        where = _new(folder / name)
        copies = {role: Path(shutil.copyfile(path, where / path.name)) for role, path in files.items()}
        made.append(Deposit(f"real/{name}", reader, copies, is_real=True))
    return made


def container_of(path: Path) -> str:
    """What a file is, by its content: the mutations that suit it go by this."""
    head = path.read_bytes()[:4096]
    if head.startswith(b"\x1f\x8b"):
        with gzip.open(path) as stream:
            return f"{_plain_container(path.name.removesuffix('.gz'), stream.read(4096))}.gz"
    return _plain_container(path.name, head)


def _plain_container(name: str, head: bytes) -> str:
    magics = {
        b"\x89HDF": "hdf5",
        b"PAR1": "parquet",
        b"%%Matr": "mtx",
        b"\x89PNG": "png",
        b"\xff\xd8": "jpeg",
        b"II": "tiff",
        b"MM": "tiff",
    }
    for magic, container in magics.items():
        if head.startswith(magic):
            return "h5ad" if container == "hdf5" and name.endswith(".h5ad") else container
    return "json" if head.lstrip().startswith((b"{", b"[")) else "table"


def _new(folder: Path) -> Path:
    folder.mkdir(parents=True)
    return folder
