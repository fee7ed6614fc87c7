"""Slides without spots: tiles side by side, glass left out, a trained network's means by patient."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from learned import cohort
from PIL import Image

from spotweave import methods
from spotweave.errors import Refusal
from spotweave.plan.models import method_columns
from spotweave.plan.options import without_remarks
from spotweave.predicting.asking import ask
from spotweave.predicting.slides import open_slide, pyramid_of
from spotweave.predicting.trained import read_trained
from spotweave.slide.levels import Pyramid
from spotweave.slide.patches import PatchGrid, cut
from spotweave.spots import Job
from spotweave.studies import colours, slides, statuses, tiles
from spotweave.studies.slides import Cut
from spotweave.tables.rows import read_table

ROOT = Path(__file__).resolve().parents[2]
SIZE, UM = 16, 1.0
SIDE = 32  # px of a slide of .5 um a px
COLOURS = [(200, 80, 120), (90, 60, 150), (150, 150, 90)]


def slide(path, squares, columns=3, um=0.5):
    """A picture of squares of one tile each, `None` for glass; half a tile more to the right and below."""
    rows = -(-len(squares) // columns)
    picture = np.full((rows * SIDE + SIDE // 2, columns * SIDE + SIDE // 2, 3), 245, np.uint8)
    for number, colour in enumerate(squares):
        row, column = divmod(number, columns)
        if colour is not None:
            picture[row * SIDE : (row + 1) * SIDE, column * SIDE : (column + 1) * SIDE] = colour
    Image.fromarray(picture).save(path, dpi=(25400 / um, 25400 / um) if um else None)
    return path


def opened(picture, folder, side_um=SIZE * UM, stated_um=None):
    """A slide, its pyramid, and its tiles."""
    own = open_slide(picture, stated_um)
    folder.mkdir(exist_ok=True)
    pyramid = pyramid_of(own, folder, slides.PYRAMID)
    return own, pyramid, tiles.tiled(own, pyramid, side_um)


def test_tiles_stand_side_by_side_and_glass_is_left_out(tmp_path):
    picture = slide(tmp_path / "a.png", [COLOURS[0], None, COLOURS[1], None, COLOURS[2], None])
    own, pyramid, found = opened(picture, tmp_path / "work")
    assert found.places.positions_px.tolist() == [[16, 16], [80, 16], [48, 48]]
    assert found.places.names == ["16x16", "80x16", "48x48"]
    images = np.stack(list(cut(Pyramid(pyramid), PatchGrid(found.places.positions_px, SIZE, UM, own.pixel_size_um))))
    for image, colour in zip(images, COLOURS, strict=True):
        assert np.abs(image[4:12, 4:12].astype(int) - colour).max() <= 6  # JPEG
    means = np.mean(COLOURS, axis=0)
    for channel in (1, 2, 3):
        assert found.colours[f"chan{channel}_brightness"] == pytest.approx(means[channel - 1], abs=3)


def test_slides_that_say_too_little_or_are_glass_are_refused(tmp_path):
    bare = slide(tmp_path / "bare.png", [None] * 3)
    with pytest.raises(Refusal, match=r"bare\.png has no tile of 16 um that is not glass"):
        opened(bare, tmp_path / "work")
    unsaid = slide(tmp_path / "unsaid.png", COLOURS, um=None)
    # Pixels of twice the side: each square is four tiles.
    assert len(opened(unsaid, tmp_path / "work", stated_um=1.0)[2].places.names) == 12
    small = slide(tmp_path / "small.png", COLOURS[:1], columns=1)
    with pytest.raises(Refusal, match="no tile of 400 um"):
        opened(small, tmp_path / "work", side_um=400)


def test_means_of_expression_undo_the_logarithm():
    predicted = np.log1p(np.array([[0.0, 3.0], [2.0, 5.0]]))
    np.testing.assert_allclose(tiles.mean_expression(predicted, undo_log=True), [1, 4])
    np.testing.assert_allclose(tiles.mean_expression(predicted, undo_log=False), predicted.mean(axis=0))


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    folder = tmp_path_factory.mktemp("model")
    table = ROOT / "config/methods.csv", ROOT / "workflow/schemas/methods.schema.yaml", "method", method_columns()
    row = next(
        row for _, row in read_table(*table)[0].values() if (row["kind"], row.get("preset")) == ("st_net", "tiny")
    )
    training = cohort(folder, inner=False)
    fitted = methods.load("st_net").fit(training, {**without_remarks(row), "epochs": "3"}, Job(0))
    fitted.save(folder / "kept")
    return folder / "kept", fitted


@pytest.fixture
def table(tmp_path):
    """Two slides of one patient, of one and two tiles; one of another; and four that nothing can be said of."""
    slide(tmp_path / "a.png", COLOURS[:1])
    slide(tmp_path / "b.png", COLOURS[1:])
    slide(tmp_path / "c.png", COLOURS[2:])
    slide(tmp_path / "glass.png", [None])
    (tmp_path / "torn.png").write_bytes((tmp_path / "a.png").read_bytes()[:80])
    slide(tmp_path / "unsaid.png", COLOURS, um=None)
    slide(tmp_path / "coarse.png", COLOURS, um=1.5)
    names = ["a", "b", "c", "glass", "torn", "unsaid", "coarse"]
    rows = [(f"{tmp_path}/{name}.png", who) for name, who in zip(names, "ppqrstu", strict=True)]
    pd.DataFrame(rows, columns=["slide", "patient"]).to_csv(tmp_path / "slides.csv", index=False)
    return tmp_path / "slides.csv"


def test_patients_are_means_of_their_slides_which_are_means_of_their_tiles(model, table, tmp_path):
    folder, fitted = model
    outputs = {name: tmp_path / f"{name}.csv" for name in ("predictions", "colours", "left-out")}
    command = [sys.executable, str(ROOT / "scripts/predict_slides.py"), "--slides", str(table), "--model", str(folder)]
    command += ["--size-px", str(SIZE), "--pixel-size-um", str(UM), "--scratch", str(tmp_path / "scratch")]
    for name, path in outputs.items():
        command += [f"--{name}", str(path)]
    subprocess.run(command, check=True, capture_output=True)
    found = pd.read_csv(outputs["predictions"], index_col="patient")
    assert list(found.index) == ["p", "q"]
    assert list(found.columns) == list(fitted.genes)
    by_slide = []
    for name in "abc":
        own, pyramid, laid = opened(tmp_path / f"{name}.png", tmp_path / name)
        asked = read_trained(folder).given(SIZE, UM)
        predicted = ask(asked, own, pyramid, laid.places, tmp_path / name, dtype=np.float64)
        by_slide.append(np.expm1(predicted).mean(axis=0))
    np.testing.assert_allclose(found.loc["p"], (by_slide[0] + by_slide[1]) / 2, rtol=1e-5)
    np.testing.assert_allclose(found.loc["q"], by_slide[2], rtol=1e-5)
    assert np.ptp(by_slide, axis=0).max() > 0.1
    left_out = pd.read_csv(outputs["left-out"]).set_index("patient")["reason"]
    assert list(left_out.index) == ["r", "s", "t", "u"]
    assert "glass" in left_out["r"] and "torn.png" in left_out["s"]
    assert "unsaid.png" in left_out["t"] and "state it, pixel_size_um of its row" in left_out["t"]
    assert "a pixel of the slide is 1.5 um, and the model was trained on slides of 0.5" in left_out["u"]
    pictures = pd.read_csv(outputs["colours"], index_col="patient")
    assert pictures["tiles"].to_dict() == {"p": 1.5, "q": 1}
    assert set(colours.METRICS) < set(pictures.columns)
    assert not (tmp_path / "scratch").exists()


def test_a_killed_run_goes_on_and_parts_change_nothing(model, table, tmp_path, monkeypatch):
    folder, _ = model
    how, scratch, rows = Cut(SIZE, UM, True), tmp_path / "scratch", slides.read_slides(table)
    whole = slides.predict(rows, folder, how, scratch)
    asked = []
    real = slides.tiled

    def killed(own, *args):
        asked.append(own.path.name)
        if len(asked) == 3:
            raise KeyboardInterrupt
        return real(own, *args)

    monkeypatch.setattr(slides, "tiled", killed)
    monkeypatch.setattr(slides, "TILES_AT_ONCE", 1)
    with pytest.raises(KeyboardInterrupt):
        slides.predict(rows, folder, how, scratch)
    again = slides.predict(rows, folder, how, scratch)
    assert asked == ["a.png", "b.png", "c.png", "c.png", "glass.png"]
    np.testing.assert_allclose(again.expression, whole.expression, rtol=1e-5)
    pd.testing.assert_frame_equal(again.left_out, whole.left_out)
    # Left out, tiles are those of the patches that it learned from: 32 px of .5 um.
    own, said = (slides.predict(rows.iloc[:1], folder, Cut(*how, True), scratch) for how in ((None, None), (32, 0.5)))
    pd.testing.assert_frame_equal(own.expression, said.expression)
    # Other settings take up nothing.
    asked.clear()
    monkeypatch.setattr(slides, "tiled", real)
    other = slides.predict(rows.iloc[:1], folder, replace(how, undo_log=False), scratch)
    assert not np.allclose(other.expression, whole.expression.iloc[:1])


def test_messages_of_the_table(tmp_path):
    for text, message in [
        ("slide\na\n", "s.csv: no column 'patient'"),
        ("slide,patient\na,\n", "s.csv: row 2 has no patient"),
        ("slide,patient\na,p\na,q\n", "s.csv: slide 'a' has two rows"),
        ("slide,patient,pixel_size_um\na,p,small\n", "s.csv: pixel_size_um of row 2 is 'small'; write um per px"),
    ]:
        (tmp_path / "s.csv").write_text(text)
        with pytest.raises(ValueError, match=message):
            slides.read_slides(tmp_path / "s.csv")
    (tmp_path / "s.csv").write_text("slide,patient\nnowheresvs,p\n")
    with pytest.raises(FileNotFoundError, match="nowheresvs: no such slide"):
        slides._remembered(slides.read_slides(tmp_path / "s.csv").iloc[0], None, Cut(1, 1, True), tmp_path, "")


class Brightness:
    """An encoder whose numbers are known: means of the channels."""

    dim = 3

    def encode(self, batch):
        return batch.mean(axis=(1, 2)).astype(np.float32)


def test_patients_are_told_apart_by_the_mean_embedding_of_their_slides(tmp_path, monkeypatch):
    rng = np.random.default_rng(0)
    rows = []
    for number in range(12):
        positive = number % 2
        squares = [(120 + 60 * positive, 90, rng.integers(60, 160)) for _ in range(2)]
        slide(tmp_path / f"{number}.png", squares)
        rows.append((f"{tmp_path}/{number}.png", f"p{number}", "+-"[positive], "yx"[rng.integers(2)], ""))
    slide(tmp_path / "glass.png", [None])
    rows.append((f"{tmp_path}/glass.png", "q", "+", "x", ""))
    names = ["slide", "patient", "ER", "noise", "unknown"]
    pd.DataFrame(rows, columns=names).to_csv(tmp_path / "slides.csv", index=False)
    table = slides.read_slides(tmp_path / "slides.csv")
    cut = {"size_px": SIZE, "um_per_px": UM, "scratch": tmp_path / "kept", "seeds": (1, 2)}
    found, left_out = statuses.evaluate(table, names[2:], {"b": ("made", Brightness())}, **cut)
    assert left_out["patient"].tolist() == ["q"] and "glass" in left_out["reason"].iloc[0]
    by = found.set_index(["label", "what"])
    assert by.loc[("ER", "slide_auc"), "mean"] == by.loc[("ER", "slide_balanced_accuracy"), "mean"] == 1
    assert by.loc[("ER", "slide_auc"), "slides"] == 12 and by.loc[("ER", "slide_auc"), "values"] == 10
    assert abs(by.loc[("noise", "slide_auc"), "mean"] - 0.5) < 0.4
    assert "two labels are told apart" in by.loc[("unknown", "slide_auc"), "note"]
    assert 1 <= by.loc[("", "rankme"), "mean"] <= 2  # two tiles a slide
    # What is kept is of the slides and the encoder: nothing is cut again, and another encoder takes up none of it.
    with monkeypatch.context() as patched:
        patched.setattr(statuses, "tiled", None)
        again, unread = statuses.evaluate(table, names[2:], {"b": ("made", Brightness())}, **cut)
        pd.testing.assert_frame_equal(again, found)
        pd.testing.assert_frame_equal(unread, left_out)
        with pytest.raises(TypeError):
            statuses.evaluate(table, names[2:], {"b": ("otherwise", Brightness())}, **cut)
    with pytest.raises(Refusal, match="no column 'PR'"):
        statuses.evaluate(table, ["PR"], {}, **cut)
