"""Shape and neighbourhood of nuclei: against closed forms, scikit-image, OpenCV and shapely."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import shapely
from skimage import measure

from spotweave.nuclei.morphology import DENSITY_RADIUS_UM, FEATURES, NEIGHBOURS, disc_area, neighbourhood, of_labels

SIZES_UM_PER_PX = [(3.0, 0.25), (4.0, 0.5), (6.0, 0.5), (12.0, 0.25), (5.0, 0.137)]


def ellipses(axes_px: list[tuple[float, float, float]], centres: np.ndarray | None = None) -> np.ndarray:
    """Labels (H, W) of ellipses (semi-axes px, turn of the first) side by side, by which pixel centres lie within."""
    side = int(2 * max(max(a, b) for a, b, _ in axes_px)) + 8
    labels = np.zeros((side, side * len(axes_px)), np.int32)
    rows, columns = np.indices((side, side)) + 0.5
    for index, (a, b, turn) in enumerate(axes_px):
        shift = (0.0, 0.0) if centres is None else centres[index]
        x, y = columns - side / 2 - shift[0], rows - side / 2 - shift[1]
        along, across = x * np.cos(turn) + y * np.sin(turn), y * np.cos(turn) - x * np.sin(turn)
        labels[:, index * side : (index + 1) * side][(along / a) ** 2 + (across / b) ** 2 <= 1] = index + 1
    return labels


def many_ellipses(seed: int, count: int, low_px: float, high_px: float) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    semi = np.sort(rng.uniform(low_px, high_px, (count, 2)), axis=1)[:, ::-1]
    turns = rng.uniform(0, np.pi, count)
    axes = [(a, b, turn) for (a, b), turn in zip(semi.tolist(), turns.tolist(), strict=True)]
    return ellipses(axes, rng.uniform(-0.5, 0.5, (count, 2))), semi


@pytest.mark.parametrize(("radius_um", "um_per_px"), SIZES_UM_PER_PX)
def test_discs(radius_um: float, um_per_px: float) -> None:
    rng = np.random.default_rng(3)
    labels = ellipses([(radius_um / um_per_px,) * 2 + (0.0,)] * 40, rng.uniform(-0.5, 0.5, (40, 2)))
    found = {name: float(values.mean()) for name, values in of_labels(labels, um_per_px).items()}
    assert found["area_um2"] == pytest.approx(np.pi * radius_um**2, rel=0.01)
    assert found["perimeter_um"] == pytest.approx(2 * np.pi * radius_um, rel=0.015)
    for name in ("major_axis_um", "minor_axis_um", "equivalent_diameter_um"):
        assert found[name] == pytest.approx(2 * radius_um, rel=0.015)
    assert found["roundness"] > 0.97
    assert found["ellipticity"] > 0.97
    assert found["eccentricity"] < 0.25
    assert found["extent"] == pytest.approx(np.pi / 4, rel=0.05)
    assert found["roughness"] == 1.0


@pytest.mark.parametrize("ratio", [0.4, 0.6, 0.85])
@pytest.mark.parametrize("um_per_px", [0.25, 0.5])
def test_ellipses_of_all_directions(ratio: float, um_per_px: float) -> None:
    a_um, b_um = 7.0, 7.0 * ratio
    turns = np.linspace(0, np.pi, 60, endpoint=False).tolist()
    labels = ellipses([(a_um / um_per_px, b_um / um_per_px, turn) for turn in turns])
    found = of_labels(labels, um_per_px)
    # Ramanujan's perimeter, right to 1e-5 for such ellipses.
    h = ((a_um - b_um) / (a_um + b_um)) ** 2
    perimeter = np.pi * (a_um + b_um) * (1 + 3 * h / (10 + np.sqrt(4 - 3 * h)))
    assert found["area_um2"].mean() == pytest.approx(np.pi * a_um * b_um, rel=0.01)
    assert found["perimeter_um"].mean() == pytest.approx(perimeter, rel=0.01)
    assert found["perimeter_um"].std() < 0.035 * perimeter  # of four directions
    assert found["major_axis_um"] == pytest.approx(2 * a_um, rel=0.02)
    assert found["minor_axis_um"] == pytest.approx(2 * b_um, rel=0.03)
    assert found["ellipticity"] == pytest.approx(ratio, abs=0.02)
    assert found["eccentricity"] == pytest.approx(np.sqrt(1 - ratio**2), abs=0.03)
    assert found["roundness"].mean() == pytest.approx(4 * np.pi**2 * a_um * b_um / perimeter**2, rel=0.02)
    assert (found["roughness"] > 0.995).all()


@pytest.mark.parametrize(("width", "height", "um_per_px"), [(20, 12, 0.25), (60, 30, 0.25), (16, 16, 0.5)])
def test_rectangles(width: int, height: int, um_per_px: float) -> None:
    labels = np.zeros((height + 4, width + 6), np.int32)
    labels[2 : 2 + height, 3 : 3 + width] = 1
    found = {name: values[0] for name, values in of_labels(labels, um_per_px).items()}
    assert found["area_um2"] == width * height * um_per_px**2
    assert found["extent"] == 1.0
    assert found["roughness"] == 1.0
    # Second moments of n px in a row: (n^2 - 1) / 12.
    assert found["major_axis_um"] == pytest.approx(4 * np.sqrt((width**2 - 1) / 12) * um_per_px, rel=1e-6)
    assert found["minor_axis_um"] == pytest.approx(4 * np.sqrt((height**2 - 1) / 12) * um_per_px, rel=1e-6)
    # Crofton's of four directions: w + h lines straight, each crossed twice, and twice w + h - 1 diagonal ones.
    lines = 2 * (width + height) + 2 * 2 * (width + height - 1) * np.sqrt(0.5)
    assert found["perimeter_um"] == pytest.approx(np.pi / 8 * lines * um_per_px, rel=1e-6)


def test_scikit_image_finds_the_same() -> None:
    labels, _ = many_ellipses(1, 40, 5, 20)
    rng = np.random.default_rng(2)
    labels[(rng.random(labels.shape) < 0.03)] = 0  # holes and notches
    found = of_labels(labels, 0.25)
    theirs = measure.regionprops(labels)
    expected = {
        "area_um2": [one.area * 0.0625 for one in theirs],
        "perimeter_um": [measure.perimeter_crofton(np.pad(one.image, 1), 4) * 0.25 for one in theirs],
        "major_axis_um": [one.axis_major_length * 0.25 for one in theirs],
        "minor_axis_um": [one.axis_minor_length * 0.25 for one in theirs],
        "equivalent_diameter_um": [one.equivalent_diameter_area * 0.25 for one in theirs],
        "eccentricity": [one.eccentricity for one in theirs],
        "extent": [one.extent for one in theirs],
    }
    for name, values in expected.items():
        assert found[name] == pytest.approx(np.array(values), rel=1e-5), name


def test_opencv_fits_ellipses_of_the_same_axes() -> None:
    labels, semi = many_ellipses(4, 30, 8, 24)
    found = of_labels(labels, 1.0)
    for index in range(len(semi)):
        outline, _ = cv2.findContours((labels == index + 1).astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
        _, fitted, _ = cv2.fitEllipse(outline[0])  # through centres of the pixels inside: half a px short on each side
        assert found["minor_axis_um"][index] == pytest.approx(min(fitted) + 1, rel=0.03, abs=0.4)
        assert found["major_axis_um"][index] == pytest.approx(max(fitted) + 1, rel=0.03, abs=0.4)


def test_roughness_is_the_hull_over_the_perimeter() -> None:
    """Shapes with one deep dent, of polygons in all directions: shapely measures them before they are pixels."""
    ratios, found = [], []
    for turn in np.linspace(0, 2 * np.pi, 24, endpoint=False):
        moon = shapely.Point(60, 60).buffer(40).difference(shapely.Point(95, 60).buffer(28))
        moon = shapely.affinity.rotate(moon, turn, origin=(60.3, 60.1), use_radians=True)
        rows, columns = np.indices((121, 121)) + 0.5
        labels = shapely.contains_xy(moon, columns, rows).astype(np.int32)
        ratios.append(moon.convex_hull.length / moon.length)
        found.append(of_labels(labels, 1.0)["roughness"][0])
    assert np.mean(found) == pytest.approx(np.mean(ratios), rel=0.02)
    assert np.std(found) < 0.03


def test_scale_changes_lengths_and_no_ratio() -> None:
    labels, _ = many_ellipses(5, 10, 5, 12)
    once, twice = of_labels(labels, 0.25), of_labels(labels, 0.5)
    for name in FEATURES:
        factor = 4 if name.endswith("_um2") else 2 if name.endswith("_um") else 1
        assert twice[name] == pytest.approx(factor * once[name], rel=1e-6)
        assert once[name].dtype == np.float32


def test_a_nucleus_touching_another_is_measured_alone() -> None:
    labels = np.zeros((30, 40), np.int32)
    labels[5:15, 5:15], labels[5:15, 15:25] = 1, 2
    alone = of_labels(np.where(labels == 1, 1, 0).astype(np.int32), 1.0)
    for name, values in of_labels(labels, 1.0).items():
        assert values[0] == values[1] == alone[name][0], name


def test_what_the_border_cuts_and_what_is_not_there_is_unknown() -> None:
    labels = np.zeros((20, 20), np.int32)
    labels[0:4, 5:9], labels[8:12, 8:12] = 1, 3
    found = of_labels(labels, 0.5)
    for name in FEATURES:
        assert np.isnan(found[name]).tolist() == [True, True, False], name
    empty = of_labels(np.zeros((0, 0), np.int32), 0.5)
    assert [len(empty[name]) for name in FEATURES] == [0] * len(FEATURES)


# Neighbourhood


def test_density_and_crowdedness_of_a_lattice() -> None:
    step = 8.0
    x, y = np.meshgrid(np.arange(0.5, 60) * step, np.arange(0.5, 60) * step)
    xy_um = np.stack([x.ravel(), y.ravel()], axis=1)
    found = neighbourhood(xy_um, [shapely.box(0, 0, 480, 480)])
    middle = ((xy_um > 60) & (xy_um < 420)).all(axis=1)
    # 4 at a step, 4 at its diagonal, 2 at two steps.
    crowdedness = (4 * step + 4 * step * np.sqrt(2) + 2 * 2 * step) / NEIGHBOURS
    assert found["crowdedness_um"][middle] == pytest.approx(crowdedness, rel=1e-6)
    # The nucleus in the middle is no neighbour of its own: one less than the lattice has in such a disc.
    expected = 1e6 / step**2 - 1e6 / (np.pi * DENSITY_RADIUS_UM**2)
    assert found["density_per_mm2"][middle].mean() == pytest.approx(expected, rel=0.03)
    # By the area of tissue, so that at the tissue's edge there are as many.
    assert found["density_per_mm2"][~middle].mean() == pytest.approx(expected, rel=0.06)


def test_density_is_that_of_brute_force() -> None:
    xy_um = np.random.default_rng(1).uniform(0, 400, (300, 2))
    found = neighbourhood(xy_um, shapely.box(-100, -100, 500, 500))["density_per_mm2"]
    apart = np.hypot(*(xy_um[:, None] - xy_um[None]).transpose(2, 0, 1))
    others = (apart <= DENSITY_RADIUS_UM).sum(axis=1) - 1
    assert found == pytest.approx(others * 1e6 / (np.pi * DENSITY_RADIUS_UM**2), rel=1e-5)
    assert neighbourhood(xy_um, shapely.box(-100, -100, 500, 500))["crowdedness_um"] == pytest.approx(
        np.sort(apart, axis=1)[:, 1 : NEIGHBOURS + 1].mean(axis=1), rel=1e-5
    )


def test_area_of_discs_at_an_edge() -> None:
    tissue = shapely.union(shapely.box(0, -1000, 1000, 1000), shapely.box(-5000, 0, -4000, 10))
    depth = np.linspace(-60, 60, 41)
    found = disc_area(np.stack([depth, np.zeros(41)], axis=1), 50.0, tissue)
    inside = np.clip(depth / 50, -1, 1)  # area of a circular segment
    expected = 2500 * (np.pi - np.arccos(inside) + inside * np.sqrt(1 - inside**2))
    assert np.abs(found - expected).max() < 0.02 * np.pi * 2500


def test_too_few_nuclei_and_too_little_tissue_are_unknown() -> None:
    xy_um = np.random.default_rng(0).uniform(0, 30, (NEIGHBOURS, 2))
    found = neighbourhood(xy_um, shapely.box(0, 0, 500, 500))
    assert np.isnan(found["crowdedness_um"]).all()
    assert (found["density_per_mm2"] > 0).all()
    assert np.isfinite(neighbourhood(np.vstack([xy_um, [40, 40]]), shapely.box(0, 0, 99, 99))["crowdedness_um"]).all()
    assert np.isnan(neighbourhood(xy_um + 5000, shapely.box(0, 0, 500, 500))["density_per_mm2"]).all()
    assert len(neighbourhood(np.zeros((0, 2)), [])["density_per_mm2"]) == 0
