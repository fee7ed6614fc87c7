"""The corner detector: its file, what it finds on rendered and real frames, and the counting behind its card."""

import hashlib
import json
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import load_file, save_file

from real_data import DATA, NOT_HERE
from spotweave.fiducials.detection import Detection
from spotweave.fiducials.detector import Detector, iou
from spotweave.fiducials.training import Count, corner_boxes, count_hits, train
from spotweave.geometry import apply, fit_affine
from spotweave.simulate.frames import Look, draw_look, render
from spotweave.visium.array import capture_area

ROOT = Path(__file__).resolve().parents[2]
SHARED = DATA
WEIGHTS = ROOT / "resources/fiducial_detector/weights.safetensors"
REAL = [
    "dlpfc/151507",
    "dlpfc/151669",
    "dlpfc/151673",
    "dlpfc/151676",
    "visium_mouse_brain_anterior/spatial",
    "visium_mouse_brain_posterior_outs/spatial",
]


@pytest.fixture(scope="module")
def detector():
    return Detector(WEIGHTS)


def off_by_shape_widths(detections, matrix, *, area="6.5 mm", least_score=0.25):
    """(4,) distance from each shape's true centre to its nearest detection, in widths of the shape."""
    frame = capture_area(area)
    centres = apply(matrix, frame.corners_um)
    width = (2 * frame.shape_half_um[0] + 90) * np.sqrt(abs(np.linalg.det(matrix[:2, :2])))
    off = np.full(4, np.inf)
    for found in detections:
        if found.score >= least_score:
            distance = np.hypot(*(centres[found.shape] - (found.x_px, found.y_px))) / width
            off[found.shape] = min(off[found.shape], distance)
    return off


def test_the_weights_are_half_precision_safetensors_below_8_mb():
    content = WEIGHTS.read_bytes()
    header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
    assert {entry["dtype"] for name, entry in header.items() if name != "__metadata__"} == {"F16"}
    assert len(content) < 8e6


def test_the_card_names_the_weights_hash():
    assert hashlib.sha256(WEIGHTS.read_bytes()).hexdigest() in WEIGHTS.with_name("card.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("damage", ["missing", "further", "of another shape"])
def test_weights_that_do_not_fit_the_network_are_refused(tmp_path, damage):
    state = load_file(WEIGHTS)
    name = sorted(state)[0]
    if damage == "missing":
        del state[name]
    elif damage == "further":
        state["another"] = torch.zeros(3)
    else:
        state[name] = torch.zeros(3)
    save_file(state, tmp_path / "damaged.safetensors")
    with pytest.raises(ValueError, match=r"damaged\.safetensors: not the weights"):
        Detector(tmp_path / "damaged.safetensors")


@pytest.mark.parametrize(
    "look",
    [
        Look(),
        Look(size_px=1100, letter="D1", rotation_deg=2.0),
        Look(area="11 mm", letter=None, size_px=1300),
        Look(size_px=640, rotation_deg=90.0, mirrored=True, letter="B1"),
        Look(size_px=700, rotation_deg=181.0, tissue_share=0.4),
    ],
    ids=["plain", "larger", "11 mm", "mirrored and turned", "upside down"],
)
def test_all_four_corners_of_an_easy_frame_are_found(detector, look):
    frame = render(np.random.default_rng(3), look)
    assert off_by_shape_widths(detector.detect(frame.picture), frame.matrix, area=look.area).max() < 0.25


@pytest.mark.parametrize("place", REAL)
def test_the_corners_of_a_real_frame_lie_where_the_vendor_has_them(detector, place):
    folder = SHARED / place
    if not folder.exists():
        pytest.skip(f"{NOT_HERE}{folder}")
    picture = cv2.imread(str(folder / "tissue_lowres_image.png"))[..., ::-1].copy()
    table = pd.read_csv(next(folder.glob("tissue_positions_list.*")), header=None)
    scale = json.loads((folder / "scalefactors_json.json").read_text())["tissue_lowres_scalef"]
    matrix = fit_affine(capture_area("6.5 mm").spots_um(table[[2, 3]].to_numpy()), table[[5, 4]].to_numpy() * scale)
    off = off_by_shape_widths(detector.detect(picture), matrix, least_score=0.05)
    assert off.max() < 0.25


def test_little_is_found_where_there_is_no_frame(detector):
    sure = 0
    for seed in range(4):
        rng = np.random.default_rng([9, seed])
        frame = render(rng, draw_look(rng, "no_frame", size_px=640))
        sure += sum(found.score >= 0.5 for found in detector.detect(frame.picture))
    assert sure <= 2


def test_places_are_px_of_the_picture_given_whatever_its_size(detector):
    frame = render(np.random.default_rng(4), Look(size_px=640))
    larger = cv2.resize(frame.picture, None, fx=4, fy=4, interpolation=cv2.INTER_LINEAR)
    doubled = np.diag([4.0, 4.0, 1.0]) @ frame.matrix
    assert off_by_shape_widths(detector.detect(larger), doubled).max() < 0.1


def test_a_shape_is_given_once_in_a_place_and_the_best_first(detector):
    found = detector.detect(render(np.random.default_rng(5), Look(size_px=1300)).picture)
    assert len(found) >= 4
    assert [one.score for one in found] == sorted((one.score for one in found), reverse=True)
    boxes = [np.array([one.x_px, one.y_px, one.width_px, one.height_px]) for one in found]
    for k, one in enumerate(found):
        assert all(one.shape != found[j].shape or iou(boxes[k], boxes[j]) < 0.4 for j in range(k))


def test_the_same_picture_gives_the_same_detections(detector):
    picture = render(np.random.default_rng(6), Look()).picture
    assert detector.detect(picture) == detector.detect(picture)


def test_the_overlap_of_boxes_is_as_computed_by_hand():
    box = np.array([0.0, 0.0, 2.0, 2.0])
    assert iou(box, box) == 1
    assert iou(box, np.array([1.0, 0.0, 2.0, 2.0])) == pytest.approx(2 / 6)
    assert iou(box, np.array([5.0, 5.0, 2.0, 2.0])) == 0
    assert iou(box, np.array([0.0, 0.0, 4.0, 4.0])) == pytest.approx(4 / 16)


def test_a_shapes_box_holds_its_dots_and_half_a_dot_more():
    area = capture_area("6.5 mm")
    upright = corner_boxes(area, np.eye(3))
    np.testing.assert_allclose(upright[:, :2], area.corners_um)
    np.testing.assert_allclose(upright[:, 2:], [(390, 350), (390, 350), (390, 350), (390, 350)])
    quarter_turn = np.array([[0.0, -0.1, 5], [0.1, 0, 7], [0, 0, 1]])
    turned = corner_boxes(area, quarter_turn)
    np.testing.assert_allclose(turned[:, :2], apply(quarter_turn, area.corners_um))
    np.testing.assert_allclose(turned[:, 2:], [(35, 39)] * 4)


def test_hits_and_false_boxes_are_counted_by_hand():
    boxes = np.array([[x, 50.0, 20.0, 20.0] for x in (50, 150, 250, 350)])
    found = [
        Detection(0, 50, 50, 20, 20, 0.9),  # a hit
        Detection(1, 150, 50, 20, 20, 0.1),  # a faint hit
        Detection(2, 350, 50, 20, 20, 0.8),  # the wrong shape
        Detection(3, 350, 50, 20, 20, 0.7),  # of a corner that is covered: neither
    ]
    shown = np.array([True, True, True, False])
    expected = [Count(1, 1, 1, 0), Count(1, 0, 1, 0), Count(1, 0, 0, 1), Count(0, 0, 0, 0)]
    assert count_hits(found, boxes, shown, has_frame=True) == expected
    without = count_hits(found, boxes, np.zeros(4, dtype=bool), has_frame=False)
    assert without == [Count(false=1), Count(), Count(false=1), Count(false=1)]


def test_training_writes_weights_that_the_detector_loads(tmp_path):
    train(tmp_path / "weights.safetensors", frames=5, epochs=1, seed=1, threads=1)
    assert Detector(tmp_path / "weights.safetensors").detect(np.full((64, 64, 3), 128, dtype=np.uint8)) == []
    assert sorted(path.name for path in tmp_path.iterdir()) == ["weights.safetensors"]
