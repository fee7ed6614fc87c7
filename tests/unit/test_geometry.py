"""Fits against planted transforms and scikit-image's estimators."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from skimage.transform import SimilarityTransform

from spotweave import geometry


def lattice_um(columns=20, rows=18, pitch_um=200.0):
    column, row = np.meshgrid(np.arange(1, columns + 1), np.arange(1, rows + 1))
    return np.column_stack([column.ravel(), row.ravel()]) * pitch_um


def place(points, pixel_size_um, rotation_deg=0.0, shift=(300.0, 150.0), stretch=0.0, mirrored=False):
    angle = np.radians(rotation_deg)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    flip = np.diag([-1.0 if mirrored else 1.0, 1.0])
    return points @ (turn @ flip @ np.diag([1 + stretch, 1.0]) / pixel_size_um).T + shift


@given(
    pixel_size_um=st.floats(0.1, 5),
    rotation_deg=st.floats(-179, 179),
    mirrored=st.booleans(),
)
def test_an_exact_lattice_gives_its_planted_numbers(pixel_size_um, rotation_deg, mirrored):
    points = lattice_um()
    fit = geometry.fit_lattice(points, place(points, pixel_size_um, rotation_deg, mirrored=mirrored))
    assert fit.pixel_size_um == pytest.approx(pixel_size_um, rel=1e-9)
    assert (fit.rotation_deg - rotation_deg + 180) % 360 - 180 == pytest.approx(0, abs=1e-6)
    assert fit.mirrored is mirrored
    assert fit.residual_um < 1e-6
    assert fit.anisotropy == pytest.approx(0, abs=1e-9)


def test_noise_of_5_um_keeps_the_pixel_size_within_its_standard_error():
    rng = np.random.default_rng(1)
    points = lattice_um(33, 35)
    deviations = []
    for _ in range(200):
        fit = geometry.fit_lattice(points, place(points, 0.69, 0.3) + rng.normal(0, 5 / 0.69, points.shape))
        deviations.append((fit.pixel_size_um - 0.69) / fit.pixel_size_se_um)
        assert abs(fit.pixel_size_um / 0.69 - 1) < 0.0005
    assert 0.8 < np.std(deviations) < 1.2


def test_the_similarity_is_that_of_scikit_image():
    rng = np.random.default_rng(2)
    source = rng.uniform(0, 1000, (40, 2))
    target = place(source, 0.7, 25) + rng.normal(0, 3, source.shape)
    expected = SimilarityTransform.from_estimate(source, target)
    np.testing.assert_allclose(geometry.fit_similarity(source, target), expected.params, atol=1e-8)


def test_a_stretched_axis_shows_as_anisotropy():
    points = lattice_um()
    fit = geometry.fit_lattice(points, place(points, 0.7, 10, stretch=0.05))
    assert fit.anisotropy == pytest.approx(0.05, abs=1e-9)
    assert fit.pixel_size_x_um == pytest.approx(0.7 / 1.05)
    assert fit.pixel_size_y_um == pytest.approx(0.7)


def test_the_order_of_the_spots_does_not_matter():
    rng = np.random.default_rng(3)
    points = lattice_um()
    pixels = place(points, 0.69) + rng.normal(0, 10, points.shape)
    order = rng.permutation(len(points))
    one, other = geometry.fit_lattice(points, pixels), geometry.fit_lattice(points[order], pixels[order])
    assert one.pixel_size_um == pytest.approx(other.pixel_size_um, rel=1e-12)


@pytest.mark.parametrize("points", [[[0, 0], [1, 1]], [[0, 0], [1, 1], [2, 2]], [[5, 5]] * 4])
def test_spots_on_one_line_cannot_be_fitted(points):
    points = np.array(points, dtype=float)
    with pytest.raises(ValueError, match="fit needs"):
        geometry.fit_lattice(points, points * 2)


def test_spots_that_all_lie_at_one_pixel_cannot_be_fitted():
    points = lattice_um()
    with pytest.raises(ValueError, match="positions in the picture"):
        geometry.fit_lattice(points, np.zeros_like(points))


def test_the_residuals_are_the_planted_ones_whatever_their_distribution():
    """Signs in a chessboard within blocks of four are orthogonal to every affine map: the fit cannot take them up."""
    rng = np.random.default_rng(4)
    columns, rows = 20, 18
    column, row = (axis.ravel() for axis in np.meshgrid(np.arange(columns), np.arange(rows)))
    size_um = rng.lognormal(1.0, 1.2, (rows // 2, columns // 2))[row // 2, column // 2]
    direction = np.array([0.6, 0.8])
    off_um = (size_um * (-1.0) ** (column + row))[:, None] * direction
    points = lattice_um(columns, rows)
    fit = geometry.fit_lattice(points, place(points, 0.7) + off_um / 0.7)
    assert fit.pixel_size_um == pytest.approx(0.7, rel=1e-12)
    assert fit.residual_um == pytest.approx(np.median(size_um))
    assert fit.residual_p95_um == pytest.approx(np.percentile(size_um, 95))
    assert fit.residual_um < 0.6 * size_um.mean(), "mean and median of the planted residuals differ"


def test_a_mirrored_similarity_is_that_of_scikit_image_after_a_flip():
    rng = np.random.default_rng(5)
    source = rng.uniform(0, 1000, (40, 2))
    target = place(source, 0.7, 25, mirrored=True) + rng.normal(0, 3, source.shape)
    expected = SimilarityTransform.from_estimate(source * (-1, 1), target).params @ np.diag([-1.0, 1.0, 1.0])
    np.testing.assert_allclose(geometry.fit_similarity(source, target, mirrored=True), expected, atol=1e-8)


def test_an_affine_map_needs_points_that_are_not_on_one_line():
    line = np.column_stack([np.arange(5.0), 3 * np.arange(5.0) + 1])
    with pytest.raises(ValueError, match="three points"):
        geometry.fit_affine(line, np.random.default_rng(6).normal(size=(5, 2)))
