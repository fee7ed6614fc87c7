"""Measures of nuclei as an encoder: drawn nuclei of known number and size."""

import csv
from pathlib import Path

import cv2
import numpy as np
import pytest

from spotweave import encoders
from spotweave.encoders import ENCODERS
from spotweave.networks.spec import EncoderSpec
from spotweave.nuclei.morphology import FEATURES

ROOT = Path(__file__).resolve().parents[2]
with open(ROOT / "config/encoders.csv", newline="", encoding="utf-8") as handle:
    ROW = next(
        {key: cell for key, cell in row.items() if cell}
        for row in csv.DictReader(handle)
        if row["encoder"] == "nuclei-morphology"
    )


def encoder(**changes):
    return ENCODERS.load("nuclei_morphology").build(EncoderSpec.from_row({**ROW, **changes}), folder=None, seed=0)


def drawn(diameter_um, um_per_px, per_row, size=224):
    """Dark discs on pink, apart from each other and from the border."""
    patch = np.full((size, size, 3), (226, 170, 205), np.float32)
    step = size / per_row
    for row in range(per_row):
        for column in range(per_row):
            centre = (int((column + 0.5) * step), int((row + 0.5) * step))
            cv2.circle(patch, centre, round(diameter_um / um_per_px / 2), (92, 60, 140), -1, cv2.LINE_AA)
    noise = np.random.default_rng(per_row).normal(0, 3, patch.shape)
    return np.clip(cv2.GaussianBlur(patch, (0, 0), 0.8) + noise, 0, 255).astype(np.uint8)


@pytest.mark.parametrize(("diameter_um", "per_row"), [(7, 6), (10, 4)])
def test_number_and_size_of_nuclei_are_those_drawn(diameter_um, per_row):
    (found,) = encoder().encode(drawn(diameter_um, 0.5, per_row)[None])
    assert found[0] == pytest.approx(per_row**2 / 0.112**2, rel=0.05)
    means = dict(zip(FEATURES, found[2 : 2 + len(FEATURES)], strict=True))
    assert means["equivalent_diameter_um"] == pytest.approx(diameter_um, rel=0.15)
    assert means["ellipticity"] > 0.9
    assert found[1] == pytest.approx(per_row**2 * np.pi * (means["equivalent_diameter_um"] / 2) ** 2 / 112**2, rel=0.05)


def test_a_patch_is_measured_by_itself_and_one_without_nuclei_is_all_zero():
    patches = np.stack([drawn(7, 0.5, 6), np.full((224, 224, 3), 240, np.uint8), drawn(10, 0.5, 4)])
    together = encoder().encode(patches)
    assert together.dtype == np.float32
    assert (together == np.concatenate([encoder().encode(patch[None]) for patch in patches])).all()
    assert not together[1].any()
    assert encoder().encode(patches[:0]).shape == (0, 52)


@pytest.mark.parametrize("arguments", ["", "um_per_px=9", "um_per_px=half", "um_per_px=0.5;more=1"])
def test_a_row_without_the_scale_of_its_patches_is_refused(arguments):
    ((column, said),) = encoders.check_row({**ROW, "arguments": arguments})
    assert column == "arguments"
    assert "um_per_px=0.5" in said


def test_patches_too_small_for_a_nucleus_and_another_dimension_are_refused():
    assert encoders.patch_fault(ROW, 224) is None
    assert encoders.patch_fault(ROW, 32) == ("a patch of 16 um holds no whole nucleus: set patch.size_px to 40 or more")
    with pytest.raises(ValueError, match="dim 7 in the table, it has 52"):
        encoder(dim="7")
