"""Scenes that networks learn nuclei from: what was drawn is held against its own truth and other libraries."""

import cv2
import numpy as np
import pytest
from scipy import ndimage

from spotweave.nuclei import examples
from spotweave.simulate.nuclei_scenes.noise import UM_PER_PX, noise
from spotweave.simulate.nuclei_scenes.printing import draw_print, printed
from spotweave.simulate.nuclei_scenes.scene import draw_scene

SEEDS = (1, 4, 5)
CHAMFER = 0.04  # OpenCV's 5x5 mask is within this share of the Euclidean distance


@pytest.fixture(scope="module")
def scenes():
    return [draw_scene(seed) for seed in SEEDS]


@pytest.fixture(scope="module")
def pool(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pool")
    examples.draw_pool(folder, scenes=1)
    return folder


def test_noise_of_any_scale_has_mean_0_and_is_smooth_at_that_scale():
    rng = np.random.default_rng(0)
    for scale_px in (2.5, 8.0, 16.0):
        fields = [noise(rng, scale_px) for _ in range(3)]
        assert np.mean(fields) == pytest.approx(0, abs=1e-3)
        # White noise smoothed by a Gaussian is correlated by exp(-(d / 2s)^2) at a distance d.
        d = round(scale_px * 2)
        found = np.mean([np.corrcoef(field[:, d:].ravel(), field[:, :-d].ravel())[0, 1] for field in fields])
        assert found == pytest.approx(np.exp(-((d / (2 * scale_px)) ** 2)), abs=0.1)


def test_a_seed_is_a_scene(scenes):
    again = draw_scene(SEEDS[0])
    for name in ("haematoxylin", "eosin", "red_cells", "labels", "unclear"):
        assert np.array_equal(getattr(again, name), getattr(scenes[0], name))
    assert not np.array_equal(scenes[1].labels, scenes[0].labels)


def test_concentrations_are_none_or_more(scenes):
    for scene in scenes:
        for field in (scene.haematoxylin, scene.eosin, scene.red_cells):
            assert field.dtype == np.float32
            assert np.isfinite(field).all()
            assert field.min() >= 0


def test_a_label_is_one_nucleus_that_is_darker_than_its_surroundings(scenes):
    for scene in scenes:
        assert not (scene.unclear & (scene.labels > 0)).any()
        px = np.bincount(scene.labels.ravel())[1:]
        area_um2 = px[px > 0] * UM_PER_PX**2
        assert len(area_um2) > 20
        assert area_um2.min() > 3
        assert area_um2.max() < 700
        whole = 0
        darker = []
        for number, tight in enumerate(ndimage.find_objects(scene.labels), start=1):
            if tight is None:
                continue
            window = tuple(slice(max(0, side.start - 12), side.stop + 12) for side in tight)
            own = scene.labels[window] == number
            pieces = np.sort(np.bincount(ndimage.label(own, np.ones((3, 3)))[0].ravel())[1:])
            whole += pieces[-1] > 0.9 * pieces.sum()
            ring = ndimage.binary_dilation(own, iterations=10) & ~ndimage.binary_dilation(own, iterations=3)
            ring &= (scene.labels[window] == 0) & ~scene.unclear[window]
            if ring.sum() > 50:
                darker.append(scene.haematoxylin[window][own].mean() - scene.haematoxylin[window][ring].mean())
        assert whole > 0.9 * len(area_um2)  # a nucleus that lies over another may cut it in two
        assert np.mean(np.array(darker) > 0) > 0.95


def test_more_stain_is_darker_and_none_is_glass():
    for seed in range(4):
        rng = np.random.default_rng(seed)
        look = draw_print(rng)
        none = np.zeros((48, 48), np.float32)
        means = [printed(rng, none + amount, none + amount, none, look).mean() for amount in (0.0, 0.3, 1.0)]
        assert means[0] == pytest.approx(look.glass.clip(0, 255).mean(), abs=2)
        assert means[0] > means[1] + 3
        assert means[1] > means[2] + 3


def test_targets_are_those_of_an_euclidean_distance_within_each_nucleus(scenes):
    for scene in scenes[:2]:
        found = examples.targets(scene.labels, scene.unclear)
        assert np.array_equal(found.foreground, scene.labels > 0)
        assert np.array_equal(found.weight == 0, scene.unclear)
        assert set(np.unique(found.weight)) <= {0, 1, examples.BETWEEN_WEIGHT}
        for number, tight in enumerate(ndimage.find_objects(scene.labels), start=1):
            if tight is None:
                continue
            # What lies beyond the picture is not an edge: the nucleus goes on.
            window = tuple(slice(max(0, side.start - 1), side.stop + 1) for side in tight)
            own = scene.labels[window] == number
            inner = ndimage.binary_erosion(own, border_value=1)
            distance_px = ndimage.distance_transform_edt(np.pad(inner, 40, mode="edge"))[40:-40, 40:-40]
            touches = [side.start == 0 or side.stop >= 640 for side in window]
            if any(touches) or distance_px.max() < 3:
                continue
            share = distance_px / distance_px.max()
            assert np.abs(found.distance[window][own] / 255 - share[own]).max() < 2 * CHAMFER


def test_pixels_weigh_more_only_where_two_nuclei_are_near_and_in_every_narrow_gap():
    labels = np.zeros((60, 90), np.int32)
    labels[20:40, 10:30] = 7
    labels[20:40, 33:50] = 3  # 3 px from the first
    labels[20:40, 65:80] = 5  # 15 px from the second
    weight = examples.targets(labels, np.zeros(labels.shape, bool)).weight
    near = sum(ndimage.distance_transform_edt(labels != number) <= 5 for number in (7, 3, 5)) >= 2
    assert near[weight == examples.BETWEEN_WEIGHT].all()
    assert (weight[22:38, 30:33] == examples.BETWEEN_WEIGHT).all()


def test_a_pool_holds_scenes_by_seed(pool):
    for number, part in enumerate(examples.open_pool(pool)):
        scene = draw_scene(examples.FIRST_SEED + number)
        assert np.array_equal(part.haematoxylin[0], scene.haematoxylin.astype(np.float16))
        assert np.array_equal(part.foreground[0], scene.labels > 0)


def test_an_example_and_its_targets_are_turned_together(pool):
    drawn = examples.Examples(pool, np.random.default_rng(3))
    found = [next(drawn) for _ in range(60)]
    side = examples.EXAMPLE_PX
    agree = []
    for one in found:
        assert one.picture.shape == (side, side, 3)
        assert {array.dtype for array in one} == {np.dtype(np.float32)}
        assert -1 <= one.picture.min() < one.picture.max() <= 1
        for array in one[1:3]:
            assert array.shape == (side, side)
            assert 0 <= array.min() <= array.max() <= 1.0001
        assert set(np.unique(one.weight)) <= {0, 1, examples.BETWEEN_WEIGHT}
        dark = -cv2.GaussianBlur(one.picture[..., 0], (0, 0), 1)  # red: what haematoxylin takes away
        if 0.05 < one.foreground.mean() < 0.8:
            agree.append(np.corrcoef(dark.ravel(), one.foreground.ravel())[0, 1])
    assert len(agree) > 20
    assert np.median(agree) > 0.4
    assert np.mean(np.array(agree) > 0.1) > 0.9
