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


def test_tiles_stand_side_by_side_and_glass_is_left_out(tmp_path):
    picture = slide(tmp_path / "a.png", [COLOURS[0], None, COLOURS[1], None, COLOURS[2], None])
    (tmp_path / "work").mkdir()
    found = tiles.tiled(picture, "p", tmp_path / "work", size_px=SIZE, tile_um_per_px=UM)
    assert found.sample.positions_px.tolist() == [[16, 16], [80, 16], [48, 48]]
    images = np.concatenate(list(found.sample.images()))
    assert images.shape == (3, SIZE, SIZE, 3)
    for image, colour in zip(images, COLOURS, strict=True):
        assert np.abs(image[4:12, 4:12].astype(int) - colour).max() <= 6  # JPEG
    assert found.sample.pixel_size_um == pytest.approx(0.5)
    means = np.mean(COLOURS, axis=0)
    for channel in (1, 2, 3):
        assert found.colours[f"chan{channel}_brightness"] == pytest.approx(means[channel - 1], abs=3)


def test_slides_that_say_too_little_or_are_glass_are_refused(tmp_path):
    for name, squares, um, message in [
        ("bare", [None] * 3, 0.5, "bare.png has no tile of 16 um that is not glass"),
        ("unsaid", COLOURS, None, "unsaid.png does not say how large its pixels are: give pixel_size_um"),
    ]:
        picture = slide(tmp_path / f"{name}.png", squares, um=um)
        with pytest.raises(Refusal, match=message):
            tiles.tiled(picture, "p", tmp_path, size_px=SIZE, tile_um_per_px=UM)
    found = tiles.tiled(picture, "p", tmp_path, size_px=SIZE, tile_um_per_px=UM, pixel_size_um=1.0)
    assert len(found.sample.spots) == 12  # px of twice the side: each square is four tiles
    small = slide(tmp_path / "small.png", COLOURS[:1], columns=1)
    with pytest.raises(Refusal, match="no tile of 400 um"):
        tiles.tiled(small, "p", tmp_path, size_px=400, tile_um_per_px=UM)


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
    """Two slides of one patient, of one and two tiles; one of another; one of glass; one that is torn."""
    slide(tmp_path / "a.png", COLOURS[:1])
    slide(tmp_path / "b.png", COLOURS[1:])
    slide(tmp_path / "c.png", COLOURS[2:])
    slide(tmp_path / "glass.png", [None])
    (tmp_path / "torn.png").write_bytes((tmp_path / "a.png").read_bytes()[:80])
    rows = [
        (f"{tmp_path}/{name}.png", who) for name, who in zip(["a", "b", "c", "glass", "torn"], "ppqrs", strict=True)
    ]
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
        (tmp_path / name).mkdir()
        cut = tiles.tiled(tmp_path / f"{name}.png", "x", tmp_path / name, size_px=SIZE, tile_um_per_px=UM)
        by_slide.append(np.expm1(fitted.predict(cut.sample)).mean(axis=0))
    np.testing.assert_allclose(found.loc["p"], (by_slide[0] + by_slide[1]) / 2, rtol=1e-5)
    np.testing.assert_allclose(found.loc["q"], by_slide[2], rtol=1e-5)
    assert np.ptp(by_slide, axis=0).max() > 0.1
    left_out = pd.read_csv(outputs["left-out"]).set_index("patient")["reason"]
    assert list(left_out.index) == ["r", "s"]
    assert "glass" in left_out["r"] and "torn.png" in left_out["s"]
    pictures = pd.read_csv(outputs["colours"], index_col="patient")
    assert pictures["tiles"].to_dict() == {"p": 1.5, "q": 1}
    assert set(colours.METRICS) < set(pictures.columns)
    assert not (tmp_path / "scratch").exists()


def test_a_killed_run_goes_on_and_parts_change_nothing(model, table, tmp_path, monkeypatch):
    folder, _ = model
    cut, scratch, rows = Cut(SIZE, UM, True), tmp_path / "scratch", slides.read_slides(table)
    whole = slides.predict(rows, folder, cut, scratch)
    asked = []
    real = slides.tiled

    def killed(path, *args, **kwargs):
        asked.append(path.name)
        if len(asked) == 3:
            raise KeyboardInterrupt
        return real(path, *args, **kwargs)

    monkeypatch.setattr(slides, "tiled", killed)
    monkeypatch.setattr(slides, "TILES_AT_ONCE", 1)
    with pytest.raises(KeyboardInterrupt):
        slides.predict(rows, folder, cut, scratch)
    again = slides.predict(rows, folder, cut, scratch)
    assert asked == ["a.png", "b.png", "c.png", "c.png", "glass.png", "torn.png"]
    np.testing.assert_allclose(again.expression, whole.expression, rtol=1e-5)
    pd.testing.assert_frame_equal(again.left_out, whole.left_out)
    # Other settings take up nothing.
    asked.clear()
    monkeypatch.setattr(slides, "tiled", real)
    other = slides.predict(rows.iloc[:1], folder, replace(cut, undo_log=False), scratch)
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
    found = statuses.evaluate(table, names[2:], {"b": ("made", Brightness())}, **cut)
    by = found.set_index(["label", "what"])
    assert by.loc[("ER", "slide_auc"), "mean"] == by.loc[("ER", "slide_balanced_accuracy"), "mean"] == 1
    assert by.loc[("ER", "slide_auc"), "slides"] == 12 and by.loc[("ER", "slide_auc"), "values"] == 10
    assert abs(by.loc[("noise", "slide_auc"), "mean"] - 0.5) < 0.4
    assert "two labels are told apart" in by.loc[("unknown", "slide_auc"), "note"]
    assert 1 <= by.loc[("", "rankme"), "mean"] <= 2  # two tiles a slide
    # What is kept is of the slides and the encoder: nothing is cut again, and another encoder takes up none of it.
    with monkeypatch.context() as patched:
        patched.setattr(statuses, "tiled", None)
        pd.testing.assert_frame_equal(statuses.evaluate(table, names[2:], {"b": ("made", Brightness())}, **cut), found)
        with pytest.raises(TypeError):
            statuses.evaluate(table, names[2:], {"b": ("otherwise", Brightness())}, **cut)
    with pytest.raises(Refusal, match="no column 'PR'"):
        statuses.evaluate(table, ["PR"], {}, **cut)
