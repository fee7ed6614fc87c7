"""Scores after a wrong pixel size, a shift and another pool, on sections of tiles of known colour and size."""

import csv
import hashlib
from dataclasses import replace

import anndata
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import pyvips
from scipy.sparse import csr_matrix

from spotweave import metrics, protocols
from spotweave.benchmark import long_table
from spotweave.benchmark.choosing import choose_genes
from spotweave.benchmark.fitting import Cell, predict_fold
from spotweave.benchmark.predictions import write_prediction
from spotweave.benchmark.scoring import Scoring, score_fold
from spotweave.benchmark.splits import make_splits
from spotweave.benchmark.targets import Targets
from spotweave.benchmark.tasks import Task
from spotweave.embeddings.sample import embed_sample
from spotweave.errors import Refusal
from spotweave.io import write_json
from spotweave.pooling import Options, Parts, write_pools
from spotweave.sensitivity import command, store
from spotweave.sensitivity.changes import CHANGES, UNCHANGED, Change, with_pools
from spotweave.slide.patch_files import PatchReader, PatchWriter
from spotweave.slide.patches import PatchGrid
from spotweave.splitting import Member

HANDCRAFTED = {"encoder": "handcrafted", "builder": "handcrafted", "weights": "none", "dim": "81", "input_px": "224"}
TILE, COLUMNS, ROWS, PATCH = 50, 10, 6, 32
DONOR_OF = {"a1": "A", "a2": "A", "b1": "B", "b2": "B"}
TASK = Task("demo", 8, None, 0.1, "")
SLIDE_UM = 1.0


def centres():
    """(N, 2) px: tiles side by side, a tile's margin all around."""
    x, y = np.meshgrid(np.arange(COLUMNS), np.arange(ROWS))
    return np.column_stack([x.ravel(), y.ravel()]) * float(TILE) + 1.5 * TILE


def write_slide(path, picture):
    image = pyvips.Image.new_from_array(np.ascontiguousarray(picture.astype(np.uint8))).copy(interpretation="srgb")
    options = {"tile": True, "tile_width": 128, "tile_height": 128, "pyramid": True, "compression": "jpeg", "Q": 95}
    image.tiffsave(str(path), **options)


def write_table(path, names, counts, centres_px, grid, diameter_px=None):
    obs = pd.DataFrame({"in_tissue": 1, "x_px": centres_px[:, 0], "y_px": centres_px[:, 1]}, index=names)
    table = anndata.AnnData(csr_matrix(counts.astype(np.float32)), obs=obs, uns={"grid": {"name": grid}})
    table.var_names = [f"G{number:02d}" for number in range(counts.shape[1])]
    if diameter_px:
        table.obsm["spatial"] = centres_px
        table.uns["spatial"] = {"ST": {"scalefactors": {"spot_diameter_fullres": float(diameter_px)}}}
    path.parent.mkdir(parents=True, exist_ok=True)
    table.write_h5ad(path)


def write_patches(folder, name, names, centres_px):
    grid = PatchGrid(centres_px, PATCH, 1.0, SLIDE_UM)
    with PatchWriter(folder / "patches.h5", grid, names, np.zeros(len(names), bool), name, pictures=False):
        pass


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """A run: two donors of two sections; the colour of a spot's own tile, and nothing beside it, tells its counts."""
    root = tmp_path_factory.mktemp("results")
    rng = np.random.default_rng(5)
    weights = rng.normal(size=(3, 12))
    expression = {}
    for name in DONOR_OF:
        folder = root / "samples" / name
        folder.mkdir(parents=True)
        colours = rng.uniform(60, 200, (ROWS, COLUMNS, 3))
        picture = np.full(((ROWS + 2) * TILE, (COLUMNS + 2) * TILE, 3), 130.0)
        picture[TILE:-TILE, TILE:-TILE] = colours.repeat(TILE, axis=0).repeat(TILE, axis=1)
        write_slide(folder / "slide.tif", np.clip(picture + rng.normal(0, 6, picture.shape), 0, 255))
        counts = rng.poisson(np.exp(3.5 + (colours.reshape(-1, 3) - 130) / 40 @ weights * 0.4))
        names = [f"{number}x1" for number in range(len(counts))]
        write_table(folder / "st.h5ad", names, counts, centres(), "square_50um", TILE)
        write_patches(folder, name, names, centres())
        expression[name] = folder / "st.h5ad"
        joined = counts.reshape(ROWS // 2, 2, COLUMNS // 2, 2, -1).sum(axis=(1, 3)).reshape(-1, counts.shape[1])
        middles = centres().reshape(ROWS // 2, 2, COLUMNS // 2, 2, 2).mean(axis=(1, 3)).reshape(-1, 2)
        # One spot more lies off the tissue.
        joined, middles = np.vstack([joined, joined[:1]]), np.vstack([middles, [[10.0, 10.0]]])
        of_pool = [f"p{number}" for number in range(len(joined))]
        write_table(folder / "pools/square_100um.h5ad", of_pool, joined, middles, "square_100um")
        write_table(folder / "pools/square_50um.h5ad", names, counts, centres(), "square_50um")
    benchmark = root / "benchmark/demo"
    splits = make_splits("demo", None, [Member(name, donor, 1) for name, donor in DONOR_OF.items()])
    for protocol in ("strict", "hest_exact"):
        (benchmark / protocol).mkdir(parents=True)
        choose_genes(TASK, protocols.load(protocol), splits, expression, benchmark / protocol / "targets.h5")
    write_json(benchmark / "splits.json", splits)
    return root


def asked(**changes):
    everything = command.Asked({"handcrafted": HANDCRAFTED}, ["ridge"], [], ["pearson"], 120.0, 1, "cpu", 64, "")
    return replace(everything, **changes)


def contents(folder):
    return {path: hashlib.sha256(path.read_bytes()).digest() for path in sorted(folder.rglob("*")) if path.is_file()}


@pytest.fixture(scope="module")
def table(results, tmp_path_factory):
    before, out = contents(results), tmp_path_factory.mktemp("out") / "sensitivity.csv"
    command.measure(results, "demo", asked(), out)
    assert contents(results) == before, "nothing of the run is written to"
    with open(out, newline="") as handle:
        return list(csv.DictReader(handle))


def of(table, protocol, score="pearson_mean_zero"):
    """(change, by, reach) -> row."""
    chosen = [row for row in table if row["protocol"] == protocol and row["score"] == score]
    return {(row["change"], row["by"], row["reach"]): row for row in chosen}


def score(results, protocol, folder):
    """The leaderboard's columns of the run as it is: embedded, fitted and scored without this package."""
    splits = make_splits("demo", None, [Member(name, donor, 1) for name, donor in DONOR_OF.items()])
    embeddings = {name: folder / f"{name}.h5" for name in DONOR_OF}
    for name, path in embeddings.items():
        sample = results / "samples" / name
        embed_sample(
            path, sample / "patches.h5", HANDCRAFTED, slide=sample / "slide.tif", sample=name, encoder="handcrafted"
        )
    values = []
    with Targets(results / "benchmark/demo" / protocol / "targets.h5") as targets:
        for fold in (0, 1):
            prediction = predict_fold(Cell(protocol, "handcrafted", "ridge", 1), fold, splits, targets, embeddings)
            write_prediction(folder / "p.h5", prediction)
            labels = {"task": "demo", "protocol": protocol, "predictor": "x", "fold": fold}
            scoring = Scoring(splits, protocol, ["pearson"], 1, 120.0)
            found = score_fold(scoring, targets, labels, folder / "p.h5")[1]
            values += long_table.folds_of(found.to_pandas(), "pearson").values()
    return metrics.load("pearson").summarise(values)


@pytest.mark.parametrize("protocol", ["strict", "hest_exact"])
def test_unchanged_is_what_the_run_scored(results, table, protocol, tmp_path):
    for name, value in score(results, protocol, tmp_path).items():
        row = of(table, protocol, name)["none", "", "all"]
        assert float(row["value"]) == pytest.approx(value, abs=1e-6)
        assert row["difference"] == row["difference_low"] == ""


def test_every_change_has_a_row_for_what_it_reaches_and_differences_are_from_the_unchanged(table):
    rows = of(table, "strict")
    tried = {(one.what, one.by, where) for one in CHANGES for where in ("all", "test")}
    assert set(rows) == tried | {("none", "", "all"), ("pool", "square_100um", "all")}
    unchanged = float(rows["none", "", "all"]["value"])
    for key, row in rows.items():
        if key[0] != "none":
            assert float(row["difference"]) == pytest.approx(float(row["value"]) - unchanged, abs=2e-6)
        assert bool(row["difference_low"]) == (key[0] in ("pixel size", "shift"))


def test_a_shift_into_other_tiles_costs_much_and_a_patch_within_its_tile_little(table):
    for protocol in ("strict", "hest_exact"):
        rows = of(table, protocol)
        assert float(rows["none", "", "all"]["value"]) > 0.6
        for (change, _, where), row in rows.items():
            difference = float(row["difference"] or 0)
            if change == "pixel size":
                assert abs(difference) < 0.06
            if change == "shift" and where == "all":
                assert difference < -0.1
                assert float(row["difference_low"]) < difference < float(row["difference_high"]) < 0


def test_what_reaches_the_test_side_leaves_training_as_it_was(results, tmp_path):
    """By hand: features of moved patches are predicted with the fit to those that were not."""
    (left,) = [one for one in CHANGES if one.by == "half a spot left"]
    splits = make_splits("demo", None, [Member(name, donor, 1) for name, donor in DONOR_OF.items()])
    paths = {}
    for name in DONOR_OF:
        stored = store.read_stored(results / "samples" / name)
        for change in (UNCHANGED, left):
            store.recut(stored, change, tmp_path / "cut.h5")
            paths[change, name] = tmp_path / f"{change.by}.{name}.h5"
            embed_sample(
                paths[change, name],
                tmp_path / "cut.h5",
                HANDCRAFTED,
                slide=stored.slide,
                sample=name,
                encoder="handcrafted",
            )
    means = []
    with Targets(results / "benchmark/demo/strict/targets.h5") as targets:
        for split in splits["folds"]:
            mixed = {name: paths[left if name in split["test"] else UNCHANGED, name] for name in DONOR_OF}
            cell = Cell("strict", "handcrafted", "ridge", 1)
            prediction = predict_fold(cell, split["fold"], splits, targets, mixed)
            samples = np.array(prediction.samples)
            for name in split["test"]:
                truth = targets.spots(name).on_scale("log_share", prediction.genes)
                own = prediction.values[samples == name]
                means += [np.corrcoef(truth[:, gene], own[:, gene])[0, 1] for gene in range(len(prediction.genes))]
    job = command.Task(
        splits, {name: store.read_stored(results / "samples" / name) for name in DONOR_OF}, tmp_path, ["pearson"], 120.0
    )
    embeddings = {change: {name: paths[change, name] for name in DONOR_OF} for change in (UNCHANGED, left)}
    tried = [(UNCHANGED, "all"), (left, "all"), (left, "test")]
    found = command.rows(job, cell, results / "benchmark/demo/strict/targets.h5", tried, embeddings)
    by_reach = {(row["by"], row["reach"]): row["value"] for row in found if row["score"] == "pearson_mean"}
    assert by_reach["half a spot left", "test"] == pytest.approx(np.mean(means), abs=1e-6)
    assert abs(by_reach["half a spot left", "test"] - by_reach["half a spot left", "all"]) > 0.01


def test_patches_go_where_the_change_says(tmp_path):
    """On a slide whose red tells x and whose green tells y, a patch's means are its centre, and its spread its side."""
    y, x = np.mgrid[0:500, 0:500]
    write_slide(tmp_path / "slide.tif", np.stack([x / 2, y / 2, np.full_like(x, 90)], axis=-1))
    write_patches(tmp_path, "s", ["1x1"], np.array([[250.0, 200.0]]))
    write_table(tmp_path / "st.h5ad", ["1x1"], np.ones((1, 2)), np.array([[250.0, 200.0]]), "", diameter_px=120)
    stored = store.read_stored(tmp_path)
    assert (stored.diameter_px, stored.pools) == (120, {})

    def seen(change):
        store.recut(stored, change, tmp_path / "cut.h5")
        with PatchReader(tmp_path / "cut.h5", stored.slide) as reader:
            assert reader.names() == ["1x1"]
            picture = reader.images(0, 1)[0].astype(float)
        return [*(2 * picture.mean(axis=(0, 1))[:2]), picture[..., 0].std()]

    known = {
        ("none", ""): (250, 200, 1),
        ("pixel size", "-5%"): (250, 200, 1 / 0.95),
        ("pixel size", "+5%"): (250, 200, 1 / 1.05),
        ("shift", "half a spot left"): (190, 200, 1),
        ("shift", "half a spot right"): (310, 200, 1),
        ("shift", "half a spot up"): (250, 140, 1),
        ("shift", "half a spot down"): (250, 260, 1),
    }
    side = seen(UNCHANGED)[2]
    assert {(one.what, one.by) for one in (UNCHANGED, *CHANGES)} == set(known)
    for change in (UNCHANGED, *CHANGES):
        x_px, y_px, spread = seen(change)
        expected = known[change.what, change.by]
        assert (x_px, y_px) == pytest.approx(expected[:2], abs=2)
        assert spread / side == pytest.approx(expected[2], abs=0.02)


def test_spots_of_another_pool_are_those_on_the_tissue_with_all_their_counts(results):
    stored = store.read_stored(results / "samples/a1")
    assert set(stored.pools) == {"square_100um"}, "the grid of the spots themselves is no change"
    own = anndata.read_h5ad(results / "samples/a1/st.h5ad").X.toarray()
    of_pool = store.pooled(stored, "square_100um")
    assert of_pool.barcodes.tolist() == [f"p{number}" for number in range(15)]
    assert of_pool.counts.toarray().sum(axis=0).tolist() == own.sum(axis=0).tolist()
    # The first joins the tiles of the first two rows and columns.
    assert of_pool.counts.toarray()[0].tolist() == own[[0, 1, COLUMNS, COLUMNS + 1]].sum(axis=0).tolist()
    assert of_pool.positions_px[0].tolist() == [2.0 * TILE, 2.0 * TILE]
    assert [one.grid for one in with_pools(["g"])][-1] == "g"
    assert Change("pool", "g", grid="g").reaches == UNCHANGED.reaches == ("all",)


def test_pools_as_the_pipeline_writes_them_are_read(tmp_path):
    """Transcripts on a picture of 400 x 200 px, .5 um each, pooled by the stage itself."""
    rng = np.random.default_rng(1)
    parts = Parts(*(tmp_path / name for name in ("e.h5ad", "alignment.json", "units.parquet", "t.parquet")))
    genes = pd.DataFrame({"gene_id": ["ENSG0", "ENSG1"], "genome": ""}, index=["A", "B"])
    anndata.AnnData(csr_matrix((1, 2), dtype=np.float32), var=genes).write_h5ad(parts.expression)
    write_json(parts.alignment, {"image_width_px": 400, "image_height_px": 200, "pixel_size_um": 0.5})
    x_px, y_px = rng.uniform(0, 400, 500), rng.uniform(0, 200, 500)
    named = rng.choice(["A", "B"], 500).tolist()
    columns = {"feature_name": named, "qv": np.full(500, 40, np.float32), "he_x": x_px, "he_y": y_px}
    pq.write_table(pa.table(columns), parts.transcripts)
    (tmp_path / "pools").mkdir()
    grids = ["square_50um", "square_100um"]
    write_pools("transcripts", parts, grids, Options(20.0), [tmp_path / f"pools/{grid}.h5ad" for grid in grids])
    # Under tissue are the four squares of 50 um on the left, and so one of the two of 100 um.
    own = np.array([[50.0, 50.0], [150.0, 50.0], [50.0, 150.0], [150.0, 150.0]])
    names = ["a", "b", "c", "d"]
    write_slide(tmp_path / "slide.tif", np.full((200, 400, 3), 200))
    write_table(tmp_path / "st.h5ad", names, np.ones((4, 2)), own, "square_50um", diameter_px=100)
    write_patches(tmp_path, "s", names, own)
    stored = store.read_stored(tmp_path)
    assert set(stored.pools) == {"square_100um"}
    of_pool = store.pooled(stored, "square_100um")
    assert of_pool.positions_px.tolist() == [[100.0, 100.0]]
    assert of_pool.genes.tolist() == ["A", "B"]
    assert of_pool.gene_ids.tolist() == ["ENSG0", "ENSG1"]
    left = [name for name, x in zip(named, x_px, strict=True) if x < 200]
    assert of_pool.counts.toarray().tolist() == [[left.count("A"), left.count("B")]]


def test_a_task_that_was_not_run_or_not_so_is_refused(results, tmp_path):
    with pytest.raises(Refusal, match="task other was not run; run its benchmark first"):
        command.measure(results, "other", asked(), tmp_path / "t.csv")
    with pytest.raises(Refusal, match="not run under strict_pca50"):
        command.measure(results, "demo", asked(protocols=["strict", "strict_pca50"]), tmp_path / "t.csv")
    with pytest.raises(Refusal, match=r"patches.h5 is not there: run the benchmark"):
        store.read_stored(tmp_path)
    assert not list(tmp_path.iterdir())
