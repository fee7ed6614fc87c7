"""VALIS (Gatenbee et al., Nat Commun 2023) as a source of candidates, without Java and without downloads.

Importing `valis.registration` fetches the weights of two networks, which it makes as defaults of its own arguments;
they are stubbed while it is imported, and a matcher without weights is named. VALIS goes on after errors of its own and
then returns what it started from: nothing it says is taken as true, its maps are judged like all others.
"""

from __future__ import annotations

import contextlib
import io
import logging
import tempfile
import warnings
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from spotweave import torchvision_shim
from spotweave.errors import plain

SEED = 0
REASON_CHARACTERS = 200
log = logging.getLogger("spotweave")


@dataclass(frozen=True)
class Found:
    """What VALIS made of two grids of one size.

    Attributes
    ----------
    rigid, full
        (rows, columns, 2) float64: where the node (row i, column j), px (j * step, i * step) of the moving grid, lies
        on the fixed one, by its rigid map alone and with its field. None where it failed.
    step
        px between nodes.
    failure
        Why it failed, in words; empty where it did not say so.
    """

    rigid: NDArray[np.float64] | None
    full: NDArray[np.float64] | None
    step: float
    failure: str


def register(fixed: NDArray[np.uint8], moving: NDArray[np.uint8], step: float) -> Found:
    """Register two grids (H, W) of signals, one drawn on the other as well as is known; never raises.

    Parameters
    ----------
    fixed, moving
        Signals, bright at nuclei.
    step
        px between the nodes of the lattice that is returned.
    """
    said = io.StringIO()
    try:
        with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said), _quiet_logs():
                rigid, full = _run(Path(folder), fixed, moving, step)
    except Exception as error:  # of any kind: it stands in the record, and the other candidates go on
        log.warning("VALIS failed: %s: %s", type(error).__name__, error)
        return Found(None, None, step, plain(f"{type(error).__name__}: {error}")[:REASON_CHARACTERS])
    return Found(rigid, full, step, _complaint(said.getvalue()))


@contextlib.contextmanager
def _quiet_logs() -> Any:
    level = logging.root.manager.disable
    logging.disable(logging.ERROR)
    try:
        yield
    finally:
        logging.disable(level)


def _complaint(said: str) -> str:
    """The last error that VALIS printed and went on after."""
    lines = [line for line in said.splitlines() if "Error" in line or "Exception" in line]
    return plain(lines[-1])[:REASON_CHARACTERS] if lines else ""


def _modules() -> SimpleNamespace:
    """VALIS, imported without downloads."""
    torchvision_shim.install()
    import kornia
    import torch

    class Stub(torch.nn.Module):
        def __init__(self, *_args: object, **_options: object) -> None:
            super().__init__()

    feature: Any = kornia.feature
    disk, matcher = feature.DISK.from_pretrained, feature.LightGlueMatcher
    feature.DISK.from_pretrained = classmethod(lambda cls, *_args, **_options: cls())
    feature.LightGlueMatcher = Stub
    try:
        from valis import feature_detectors, feature_matcher, preprocessing, registration, slide_io
    finally:
        feature.DISK.from_pretrained, feature.LightGlueMatcher = disk, matcher
    return SimpleNamespace(
        detectors=feature_detectors,
        matcher=feature_matcher,
        preprocessing=preprocessing,
        registration=registration,
        slide_io=slide_io,
    )


def _run(
    folder: Path, fixed: NDArray[np.uint8], moving: NDArray[np.uint8], step: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    import tifffile

    valis = _modules()
    np.random.seed(SEED)  # noqa: NPY002 - VALIS draws from the global generator
    cv2.setRNGSeed(SEED)
    (folder / "in").mkdir()
    names = {"fixed.tif": fixed, "moving.tif": moving}
    for name, signal in names.items():
        tifffile.imwrite(folder / "in" / name, signal, photometric="minisblack", tile=(256, 256))
    matcher = valis.matcher.Matcher(
        feature_detector=valis.detectors.BriskFD(), match_filter_method=valis.matcher.DEFAULT_RANSAC_NAME
    )
    side = max(fixed.shape)
    run = valis.registration.Valis(
        str(folder / "in"),
        str(folder / "out"),
        name="pair",
        img_list=[str(folder / "in" / name) for name in names],
        reference_img_f="fixed.tif",
        align_to_reference=True,
        imgs_ordered=True,
        check_for_reflections=False,
        matcher=matcher,
        matcher_for_sorting=matcher,
        crop="reference",
        max_processed_image_dim_px=side,
        max_image_dim_px=side,
        max_non_rigid_registration_dim_px=side,
    )
    channel = {"channel": 0, "adaptive_eq": True}
    run.register(
        reader_cls=valis.slide_io.VipsSlideReader,
        brightfield_processing_cls=valis.preprocessing.ChannelGetter,
        brightfield_processing_kwargs=channel,
        if_processing_cls=valis.preprocessing.ChannelGetter,
        if_processing_kwargs=channel,
    )
    still, mover = run.get_slide("fixed.tif"), run.get_slide("moving.tif")
    height, width = fixed.shape
    columns, rows = (int(np.ceil(side / step)) + 1 for side in (width, height))
    j, i = np.meshgrid(np.arange(columns), np.arange(rows))
    # Nodes beyond the last px stand on it for VALIS, and keep its shift.
    nodes = np.column_stack([j.ravel(), i.ravel()]) * step
    asked = np.minimum(nodes, (width - 1, height - 1))
    found = []
    for non_rigid in (False, True):
        at = np.asarray(mover.warp_xy_from_to(asked, still, non_rigid=non_rigid), dtype=np.float64)
        found.append((at - asked + nodes).reshape(rows, columns, 2))
    if not all(np.isfinite(one).all() for one in found):
        raise ValueError("its maps hold values that are no numbers")
    return found[0], found[1]
