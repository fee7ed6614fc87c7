"""A person's slide: predictions are those of the workflow, places are where they should be, refusals say why."""

import csv
import json
import shutil
import sys
from dataclasses import replace
from pathlib import Path

import anndata
import numpy as np
import predict_slide as predict_slide_script
import pytest
import shapely
import torch
from PIL import Image

from project import ROOT
from spotweave import methods
from spotweave.benchmark.method_fitting import predict_fold
from spotweave.benchmark.method_inputs import Inputs
from spotweave.benchmark.splits import make_splits
from spotweave.benchmark.targets import Chosen, Spots, Targets, write_targets
from spotweave.errors import Refusal
from spotweave.learning.array_places import lattice_of
from spotweave.methods import METHODS, Job, Pictures
from spotweave.plan.models import method_columns
from spotweave.plan.options import without_remarks
from spotweave.predicting import asking, origin, places, slides, trained
from spotweave.predicting.command import Asked, predict_slide
from spotweave.simulate.st_v1 import simulate_section
from spotweave.slide.levels import Pyramid
from spotweave.slide.patch_files import PatchWriter
from spotweave.slide.patches import PatchGrid, cut
from spotweave.slide.pyramid import build_pyramid
from spotweave.splitting import Member
from spotweave.tables.rows import read_table

KINDS = [kind for kind in METHODS.names() if METHODS.constant(kind, "LEARNED", False)]
TABLE = read_table(
    ROOT / "config/methods.csv", ROOT / "workflow/schemas/methods.schema.yaml", "method", method_columns()
)[0]
TINY = {row["kind"]: without_remarks(row) for _, row in TABLE.values() if row.get("preset") == "tiny"}
SIDE_PX, UM_PER_PX = 48, 2.0
GENES = 6


@pytest.fixture(autouse=True)
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


class Study:
    """Simulated sections as the workflow has them: deposited picture, pyramid, patches, targets, splits."""

    def __init__(self, folder):
        self.folder, self.sections, spots, members = folder, {}, {}, []
        for number, name in enumerate("abc"):
            section = simulate_section(5, number, columns=6, rows=5)
            self.sections[name] = section
            rows = np.flatnonzero(section.selected)
            names = [section.spot_ids[row] for row in rows]
            Image.fromarray(section.image).save(folder / f"{name}.tif", dpi=(25_400 / section.pixel_size_um,) * 2)
            build_pyramid(
                folder / f"{name}.tif",
                folder / f"{name}-slide.tif",
                pixel_size_um=section.pixel_size_um,
                tile_px=512,
                jpeg_quality=85,
            )
            grid = PatchGrid(section.pixel_xy[rows], SIDE_PX, UM_PER_PX, section.pixel_size_um)
            pyramid = Pyramid(folder / f"{name}-slide.tif")
            padded = grid.padded(pyramid.width_px, pyramid.height_px)
            with PatchWriter(folder / f"{name}.h5", grid, names, padded, name) as writer:
                for row, patch in enumerate(cut(pyramid, grid)):
                    writer.put(row, patch)
            counts = section.counts[rows][:, :GENES].astype(np.float32)
            totals = section.counts[rows].sum(axis=1).astype(float)
            spots[name] = Spots(names, section.pixel_xy[rows], totals, counts, sorted(section.genes[:GENES]))
            members.append(Member(name, name.upper(), 1))
            (folder / "metadata").mkdir(exist_ok=True)
            said = {"license": "CC-BY-4.0", "tissue": "Breast", "species": "Homo sapiens", "st_technology": "ST"}
            (folder / f"metadata/{name}.json").write_text(json.dumps(said))
        self.splits = make_splits("demo", None, members)
        self.fold = next(one for one in self.splits["folds"] if one["test"] == ["c"])["fold"]
        self.spots, self.fitted = spots["c"], {}
        self.pixel_size_um = self.sections["c"].pixel_size_um
        chosen = {one["fold"]: Chosen(list(spots["c"].genes)) for one in self.splits["folds"]}
        write_targets(folder / "targets.h5", spots, chosen)

    def fit(self, kind):
        """The model's folder, and what the workflow says of the test sample."""
        if kind not in self.fitted:
            model = self.folder / f"models/demo/strict/{kind}/fold0"
            model.parent.mkdir(parents=True, exist_ok=True)
            pictures = {name: Pictures(self.folder / f"{name}.h5") for name in "abc"}
            asked_for = {**TINY[kind], "epochs": "2"}, "strict", self.fold, self.splits
            with Targets(self.folder / "targets.h5") as targets:
                found = predict_fold(*asked_for, targets, Inputs(pictures), Job.beside(model, 1, 1), model)
            assert found.status == "predicted", found.reason
            self.fitted[kind] = model, found
        return self.fitted[kind]

    def table(self, path, positions_px, names):
        with open(path, "w", newline="") as handle:
            writer = csv.writer(handle)
            writer.writerow(["spot", "x", "y"])
            writer.writerows(
                [name, repr(float(x)), repr(float(y))] for name, (x, y) in zip(names, positions_px, strict=True)
            )
        return path


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    return Study(tmp_path_factory.mktemp("study"))


@pytest.fixture(scope="module")
def linear(study):
    return study.fit("genecoder")


def asked(study, model, out, **more):
    return Asked(study.folder / "c.tif", model, out, **more)


# --- the same as the workflow ---------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_a_samples_own_spots_are_predicted_as_the_workflow_did(kind, study, tmp_path):
    model, known = study.fit(kind)
    table = study.table(tmp_path / "spots.csv", study.spots.positions_px, study.spots.names)
    told = predict_slide(asked(study, model, tmp_path / "out", spots=table, pixel_size_um=study.pixel_size_um))
    found = anndata.read_h5ad(tmp_path / "out/predictions.h5ad")
    assert found.obs_names.tolist() == known.spots
    assert found.var_names.tolist() == known.genes
    assert np.array_equal(found.X, known.values)
    np.testing.assert_array_equal(found.obs[["x", "y"]].to_numpy(), study.spots.positions_px)
    said = found.uns["prediction"]
    assert said["kind"] == kind
    assert said["scale"] == "log_share"
    assert said["trained_on_samples"].tolist() == ["a", "b"]
    assert said["trained_on_licence"].tolist() == ["CC-BY-4.0"]
    assert "licence CC-BY-4.0" in told


def test_spots_asked_a_few_at_a_time_are_predicted_the_same(study, linear, tmp_path, monkeypatch):
    monkeypatch.setattr(asking, "SPOTS_AT_ONCE", 5)
    table = study.table(tmp_path / "spots.csv", study.spots.positions_px, study.spots.names)
    predict_slide(asked(study, linear[0], tmp_path / "out", spots=table, pixel_size_um=study.pixel_size_um))
    found = anndata.read_h5ad(tmp_path / "out/predictions.h5ad")
    np.testing.assert_allclose(found.X, linear[1].values, atol=1e-5)


def test_kinds_that_are_asked_for_a_few_spots_at_a_time_say_of_a_spot_what_they_say_of_it_among_others(study):
    """And those that are given a section at once do not: but for EGN, where only the published search depends on it."""
    slide = slides.open_slide(study.folder / "c.tif", study.pixel_size_um)
    for kind in KINDS:
        model, known = study.fit(kind)
        one = trained.read_trained(model)
        half = places.Places(known.spots, study.spots.positions_px).at(0, len(known.spots) // 2)
        found = asking.ask(one, slide, study.folder / "c-slide.tif", half, study.folder)
        same = np.allclose(found, known.values[: len(half.names)], atol=1e-5)
        assert same != one.sees_section or kind == "egnv1", kind


def test_the_workflows_own_slide_is_not_built_again_and_gives_the_same(study, linear, tmp_path):
    slide = slides.open_slide(study.folder / "c-slide.tif", None)
    assert slide.pixel_size_from == "tag"
    assert slide.pixel_size_um == pytest.approx(study.pixel_size_um, rel=1e-6)
    assert slides.pyramid_of(slide, tmp_path) == slide.path
    assert slides.pyramid_of(slides.open_slide(study.folder / "c.tif", None), tmp_path) == tmp_path / "slide.tif"


# --- a lattice ------------------------------------------------------------------------------------


def test_a_lattice_has_a_row_for_each_of_its_points_in_tissue_and_the_same_bytes_again(study, linear, tmp_path):
    for name in ("one", "two"):
        predict_slide(asked(study, linear[0], tmp_path / name, pixel_size_um=study.pixel_size_um))
    assert sorted(path.name for path in (tmp_path / "one").iterdir()) == ["genes.csv", "genes.png", "predictions.h5ad"]
    for file in (tmp_path / "one").iterdir():
        assert file.read_bytes() == (tmp_path / "two" / file.name).read_bytes(), file.name
    found = anndata.read_h5ad(tmp_path / "one/predictions.h5ad")
    slide = slides.open_slide(study.folder / "c.tif", study.pixel_size_um)
    tissue = shapely.union_all(slides.tissue_of(slide))
    pitch_px = trained.read_trained(linear[0]).said["array"]["pitch_um"] / study.pixel_size_um
    assert pitch_px * study.pixel_size_um == pytest.approx(200, rel=0.02)  # of the simulated array
    # Point by point, by another way: rounds of a loop and shapely's own points.
    expected = set()
    for row in range(99):
        for column in range(99):
            at = (column + 0.5) * pitch_px, (row + 0.5) * pitch_px
            if shapely.Point(at).within(tissue):
                expected.add(f"{row}x{column}")
    assert set(found.obs_names) == expected and len(expected) > 5
    rows = list(csv.DictReader((tmp_path / "one/genes.csv").read_text().splitlines()))
    assert {row["gene"] for row in rows} == set(found.var_names)
    assert float(rows[0]["mean"]) == pytest.approx(found[:, rows[0]["gene"]].X.mean(), abs=1e-5)
    spread = [float(row["sd"]) for row in rows]
    assert spread == sorted(spread, reverse=True)


def test_a_hexagonal_lattice_has_six_neighbours_at_its_pitch_and_no_point_off_the_tissue():
    tissue = [shapely.box(0, 0, 6000, 4800), shapely.Point(9000, 3000).buffer(900)]
    found = places.lattice(tissue, "hexagonal", 100.0, 0.5, 12000, 6000)
    named = lattice_of(found.positions_px)
    assert named[0] == "hexagonal" and named[1] == pytest.approx(200)
    distance = np.hypot(*(found.positions_px[:, None] - found.positions_px[None]).transpose(2, 0, 1))
    around = (np.abs(distance - 200) < 1e-6).sum(axis=1)
    assert around.max() == 6 and np.median(around) == 6
    assert all(any(one.contains(shapely.Point(at)) for one in tissue) for at in found.positions_px)
    # As many as the area holds: a point has sqrt(3) / 2 square pitches.
    area = sum(one.area for one in tissue)
    assert len(found.names) == pytest.approx(area / (200**2 * np.sqrt(3) / 2), rel=0.03)
    square = places.lattice(tissue, "square", 100.0, 0.5, 12000, 6000)
    assert lattice_of(square.positions_px)[0] == "square"
    assert len(square.names) == pytest.approx(area / 200**2, rel=0.03)


def test_the_lattice_of_real_arrays_is_told_in_spite_of_print_errors():
    rng = np.random.default_rng(0)
    row, column = np.mgrid[:20, :15]
    hexagonal = np.column_stack([(column + 0.5 * (row % 2)).ravel(), (row * np.sqrt(3) / 2).ravel()]) * 100
    square = np.column_stack([column.ravel(), row.ravel()]) * 200.0
    for places_um, noise_um, layout, pitch_um in ((hexagonal, 2, "hexagonal", 100), (square, 8, "square", 200)):
        found = lattice_of(places_um + rng.normal(0, noise_um, places_um.shape))
        assert found[0] == layout and found[1] == pytest.approx(pitch_um, rel=0.01)
    assert lattice_of(square[:1]) is None


# --- refusals -------------------------------------------------------------------------------------


def test_a_slide_that_does_not_say_how_large_a_pixel_is_is_refused_until_it_is_stated(study, linear, tmp_path):
    Image.fromarray(study.sections["c"].image).save(tmp_path / "bare.png")
    with pytest.raises(Refusal, match=r"bare\.png does not say how large a pixel is: state it, --pixel-size-um"):
        predict_slide(Asked(tmp_path / "bare.png", linear[0], tmp_path / "out"))
    Image.fromarray(study.sections["c"].image).save(tmp_path / "dpi.jpg", dpi=(72, 72))
    with pytest.raises(Refusal, match="state it, --pixel-size-um"):
        predict_slide(Asked(tmp_path / "dpi.jpg", linear[0], tmp_path / "out"))
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(("factor", "refused"), [(1.95, False), (2.05, True), (1 / 3.7, False), (1 / 4.5, True)])
def test_pixels_of_another_size_than_it_learned_from_are_refused(factor, refused, linear):
    one = trained.read_trained(linear[0])
    finest, coarsest = one.said["pixel_size_um"]
    size_um = factor * (coarsest if factor > 1 else finest)
    if not refused:
        return one.require_pixel_size(size_um)
    with pytest.raises(Refusal, match="a pixel of the slide is") as caught:
        one.require_pixel_size(size_um)
    assert caught.value.measured == size_um


@pytest.mark.parametrize(
    ("table", "why"),
    [
        ("spot,x,y\na,10,10\nb,9999999,10\n", r":3: spot b at x 1e\+07, y 10 lies outside the slide"),
        ("x,y\n10,\n", ":2: y is '', which is no number of px"),
        ("x,y\n10,nan\n", ":2: y is 'nan'"),
        ("a,b\n1,2\n", "no columns x and y, but a, b"),
        ("x,y\n", "no rows"),
        ("spot,x,y\na,10,10\na,20,10\n", "spot 'a' stands 2 times"),
    ],
)
def test_places_that_cannot_be_asked_are_refused_with_their_row(table, why, study, linear, tmp_path):
    (tmp_path / "spots.csv").write_text(table)
    with pytest.raises(Refusal, match=why):
        predict_slide(asked(study, linear[0], tmp_path / "out", spots=tmp_path / "spots.csv"))


def test_glass_without_tissue_is_refused(linear, tmp_path):
    noise = np.random.default_rng(0).normal(0, 1.5, (1000, 1000, 3))
    Image.fromarray(np.clip(242 + noise, 0, 255).astype(np.uint8)).save(tmp_path / "glass.png")
    with pytest.raises(Refusal, match=r"glass\.png: 0\.000 mm2 of tissue found"):
        predict_slide(Asked(tmp_path / "glass.png", linear[0], tmp_path / "out", pixel_size_um=0.7))


def test_models_of_another_make_are_refused(study, linear, tmp_path):
    for number, (change, why) in enumerate(
        [
            (lambda said: said.update(kind="oracle"), "kind 'oracle' is none of this version"),
            (lambda said: said["trained_on"].pop("patches"), "lacks trained_on: patches"),
            (lambda said: said.pop("genes"), "lacks genes"),
            (lambda said: said["settings"].update(encoder="uni"), "it takes the embeddings of uni"),
            (lambda said: said["genes"].append("X"), "is not the network that model.json describes"),
        ]
    ):
        model = tmp_path / str(number)
        shutil.copytree(linear[0], model)
        said = json.loads((model / "model.json").read_text())
        change(said)
        (model / "model.json").write_text(json.dumps(said))
        with pytest.raises(Refusal, match=why):
            trained.read_trained(model)
    (tmp_path / "0/network.safetensors").write_bytes(b"not tensors")
    shutil.copy(linear[0] / "model.json", tmp_path / "0/model.json")
    with pytest.raises(Refusal, match="is no file of tensors"):
        trained.read_trained(tmp_path / "0")
    with pytest.raises(Refusal, match=r"no model\.json"):
        trained.read_trained(tmp_path)


def test_a_section_too_large_for_memory_and_genes_it_does_not_know_are_refused(study, linear, tmp_path, monkeypatch):
    one = replace(trained.read_trained(linear[0]), kind="histogene")
    monkeypatch.setattr(asking, "SECTION_BYTES_MAX", 3 * one.settings["size_px"] ** 2 * 4)
    some = places.Places([*"abcde"], np.zeros((5, 2)))
    slide = slides.open_slide(study.folder / "c.tif", None)
    with pytest.raises(Refusal, match="at most 4 of its 16 px are kept in memory"):
        asking.ask(one, slide, study.folder / "c-slide.tif", some, tmp_path)
    with pytest.raises(Refusal, match="the model does not predict TP999"):
        predict_slide(asked(study, linear[0], tmp_path / "out", genes=["TP999"]))


def test_the_command_writes_three_files_and_says_a_refusal_in_one_line(study, linear, tmp_path, monkeypatch, capsys):
    table = study.table(tmp_path / "spots.csv", study.spots.positions_px[:4], study.spots.names[:4])
    given = ["predict_slide.py", study.folder / "c.tif", "--model", linear[0], "--spots", table]
    given += ["--out", tmp_path / "out", "--genes", study.spots.genes[2]]
    monkeypatch.setattr(sys, "argv", [str(one) for one in given])
    predict_slide_script.main()
    assert "4 places (spots of spots.csv) x 6 genes, log_share" in capsys.readouterr().out
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["genes.csv", "genes.png", "predictions.h5ad"]
    drawn = {row["gene"] for row in csv.DictReader((tmp_path / "out/genes.csv").open()) if row["drawn"] == "yes"}
    assert drawn == {study.spots.genes[2]}
    for wrong, why in (
        (["--pitch-um", "-3"], "pitch: -3, which is no number above 0"),
        (["--out", table], "is a file"),
    ):
        monkeypatch.setattr(sys, "argv", [str(one) for one in (*given, *wrong)])
        with pytest.raises(SystemExit, match=why) as caught:
            predict_slide_script.main()
        assert "\n" not in str(caught.value)


def test_training_samples_whose_metadata_are_nowhere_are_unknown_and_said_so(study, linear, tmp_path):
    shutil.copytree(linear[0], tmp_path / "m")
    table = study.table(tmp_path / "spots.csv", study.spots.positions_px[:2], study.spots.names[:2])
    told = predict_slide(asked(study, tmp_path / "m", tmp_path / "out", spots=table))
    assert "licence unknown" in told and "name their dataset's folder, --dataset" in told
    told = predict_slide(asked(study, tmp_path / "m", tmp_path / "out", spots=table, dataset=study.folder))
    assert "licence CC-BY-4.0" in told
    assert origin.dataset_of(Path("/m")) == Path("/")


def test_what_a_model_says_of_its_training_is_what_it_was_trained_on(study, linear):
    said = trained.read_trained(linear[0]).said
    assert said["patches"] == {"size_px": SIDE_PX, "um_per_px": UM_PER_PX}
    sizes = sorted(study.sections[name].pixel_size_um for name in "ab")
    assert said["pixel_size_um"] == sizes
    assert said["array"]["lattice"] == "square"
    assert said["donors"] == ["A", "B"]
    assert methods.needs({"kind": "genecoder"}, "patches")
