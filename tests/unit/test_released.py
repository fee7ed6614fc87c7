"""HEST-Benchmark's released folder: HEST-Library's own numbers, there and back, and what nobody should believe."""

import json
import re
import shutil

import anndata
import h5py
import hest_oracle
import numpy as np
import pandas as pd
import pytest
from benchmark_cohort import Cohort
from released_folder import SIDE, gather, take, write_counts, write_patches, write_root, write_splits

from spotweave.benchmark.fitting import Cell, predict_fold
from spotweave.benchmark.predictions import write_prediction
from spotweave.benchmark.scoring import Scoring, score_fold
from spotweave.benchmark.targets import Targets
from spotweave.embeddings.sample import embed_sample
from spotweave.errors import Refusal
from spotweave.released import command, published
from spotweave.released.exporting import StoredSample, export_task
from spotweave.released.folder import read_task, task_names
from spotweave.released.scoring import read_spots, score_task

HANDCRAFTED = {"encoder": "handcrafted", "builder": "handcrafted", "weights": "none", "dim": "81", "input_px": "224"}
with_oracle = pytest.mark.skipif(not hest_oracle.ORACLE.is_dir(), reason="HEST-Library's scores are not here")


@pytest.fixture(scope="module")
def sound(tmp_path_factory):
    root = tmp_path_factory.mktemp("released")
    write_root(root)
    return root


@pytest.fixture
def root(sound, tmp_path):
    return shutil.copytree(sound, tmp_path / "root")


def test_a_folder_is_read_in_the_order_of_its_files(root):
    task = read_task(root, "T")
    assert task_names(root) == ["T"]
    assert task.genes == ["G2", "G1", "G3"]
    assert [(split["train"], split["test"]) for split in task.folds] == [(["Z1", "A2"], ["M3"]), (["M3"], ["Z1", "A2"])]


def test_counts_meet_patches_by_barcode_and_genes_by_name(root):
    spots = read_spots(read_task(root, "T").samples["A2"], ["G2", "G1", "G3"])
    assert spots.genes == ["G1", "G2", "G3"]
    expected = np.arange(17)[:, None] * 10 + np.array([1, 3, 0])
    assert (spots.counts == expected).all()
    assert (spots.totals == np.arange(17) * 40 + 6).all()
    assert spots.positions_px.tolist()[1] == [2, 3]


@pytest.mark.parametrize(
    ("said", "why"),
    [
        ("../T/patches/Z1.h5", "leads out of the task's folder"),
        ("patches/../../T/patches/Z1.h5", "leads out of the task's folder"),
        ("/etc/passwd", "leads out of the task's folder"),
        ("patches\\Z1.h5", "is no path of a file"),
        ("", "is no path of a file"),
        ("patches/Z1.h5 ", "is no path of a file"),
        ("patches/none.h5", "there is no file"),
        ("patches", "there is no file"),
        ("patches/linked.h5", "is a link, or lies behind one"),
        ("beside/Z1.h5", "is a link, or lies behind one"),
    ],
)
def test_no_path_of_a_csv_is_believed(root, said, why):
    (root / "T/patches/linked.h5").symlink_to(root / "T/patches/Z1.h5")
    (root / "T/beside").symlink_to(root / "T/patches")
    file = root / "T/splits/test_1.csv"
    file.write_text(file.read_text().replace("patches/Z1.h5", said))
    with pytest.raises(Refusal, match=rf"^T/splits/test_1\.csv, row 2: .*{why}"):
        read_task(root, "T")


def replaced(file, old, new):
    def change(root):
        text = (root / "T" / file).read_text()
        assert old in text
        (root / "T" / file).write_text(text.replace(old, new))

    return change


def without(file):
    return lambda root: (root / "T" / file).unlink()


def linked(file):
    def change(root):
        path = root / "T" / file
        path.rename(root / "elsewhere")
        path.symlink_to(root / "elsewhere")

    return change


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (without("splits/test_1.csv"), "T: there is no file 'splits/test_1.csv'"),
        (without("splits/train_0.csv"), "train_0.csv, train_1.csv and so on are expected, there are 1"),
        (without("var_50genes.json"), "T: there is no file 'var_50genes.json'"),
        (linked("var_50genes.json"), "is a link"),
        (linked("splits"), "no folder `splits`"),
        (without("patches/M3.h5"), "row 2: there is no file 'patches/M3.h5'"),
        (replaced("splits/train_0.csv", "expr_path", "expression"), "rows with sample_id, patches_path, expr_path"),
        (replaced("splits/train_0.csv", "Z1,", "../Z1,"), "row 2: '../Z1' is no sample id"),
        (replaced("splits/train_0.csv", "A2,", "Z1,"), "row 3: Z1 has other files here"),
        (
            replaced("splits/train_0.csv", "A2,patches/A2.h5,adata/A2.h5ad", "M3,patches/M3.h5,adata/M3.h5ad"),
            "M3 is in tr",
        ),
        (replaced("var_50genes.json", '"G1"', '"G2"'), "gene G2 is there twice"),
        (replaced("var_50genes.json", '"G1"', "1"), "it should hold"),
        (replaced("var_50genes.json", "}", ""), "not JSON"),
    ],
)
def test_what_is_missing_or_contradicts_itself_is_refused_in_a_line(root, change, said):
    change(root)
    with pytest.raises(Refusal, match=re.escape(said)) as refused:
        read_task(root, "T")
    assert "\n" not in refused.value.reason


def changed_h5(file, change):
    def changed(root):
        with h5py.File(root / "T" / file, "a") as opened:
            change(opened)

    return changed


def external(file):
    del file["img"]
    file["img"] = h5py.ExternalLink("/etc/other.h5", "/img")


def renamed(file):
    names = file["barcode"][...]
    names[0] = b"stranger"
    file["barcode"][...] = names


def twice(file):
    names = file["barcode"][...]
    names[0] = names[1]
    file["barcode"][...] = names


def oblong(file):
    images = file["img"][...]
    del file["img"]
    file["img"] = images[:, :-1]


def negative(file):
    values = file["X/data"][...]
    values[0] = -1
    file["X/data"][...] = values


@pytest.mark.parametrize(
    ("change", "genes", "said"),
    [
        (changed_h5("patches/A2.h5", external), ["G1"], "T/patches/A2.h5: /img is a link to another file"),
        (changed_h5("patches/A2.h5", renamed), ["G1"], "T/adata/A2.h5ad: no spot for the patch stranger"),
        (changed_h5("patches/A2.h5", twice), ["G1"], "a barcode is there twice"),
        (changed_h5("patches/A2.h5", oblong), ["G1"], "`img` is (17, 31, 32, 3) uint8"),
        (changed_h5("patches/A2.h5", lambda file: file.pop("coords")), ["G1"], "no dataset `coords`"),
        (changed_h5("adata/A2.h5ad", negative), ["G1"], "raw counts are expected"),
        (lambda root: None, ["G1", "G9"], "T/adata/A2.h5ad: no gene G9"),
        (lambda root: (root / "T/adata/A2.h5ad").write_bytes(b"no HDF5"), ["G1"], "T/adata/A2.h5ad: a cut, damaged"),
    ],
)
def test_pictures_and_counts_that_do_not_fit_are_refused(root, change, genes, said):
    change(root)
    with pytest.raises(Refusal, match=re.escape(said)):
        read_spots(read_task(root, "T").samples["A2"], genes)


@with_oracle
def test_a_folder_scores_what_hest_library_gives(tmp_path):
    """Its own benchmark on the same counts and embeddings; kernels of other processors move a mean by .002."""
    with np.load(hest_oracle.ORACLE / "her2st_handcrafted.npz") as table:
        counts, sample, genes = table["counts"], table["sample"], table["genes"].tolist()
    folder, features = tmp_path / "HER2", hest_oracle.embeddings("handcrafted")
    embeddings = {}
    for name in dict.fromkeys(sample.tolist()):
        rows = np.flatnonzero(sample == name)
        barcodes = [f"s{row}" for row in rows]
        write_patches(folder / f"patches/{name}.h5", barcodes, np.zeros((len(rows), 1, 1, 3), np.uint8))
        write_counts(folder / f"adata/{name}.h5ad", barcodes[::-1], genes[::-1], counts[rows][::-1, ::-1].astype(float))
        embeddings[name] = tmp_path / f"{name}.h5"
        with h5py.File(embeddings[name], "w") as file:
            file.create_dataset("barcode", data=np.array(barcodes, dtype=object)[:, None], dtype=h5py.string_dtype())
            file["embeddings"] = features[rows]
    expected = hest_oracle.published()["handcrafted"]
    write_splits(folder, [(fold["train"], fold["test"]) for fold in expected.values()])
    (folder / "var_50genes.json").write_text(json.dumps({"genes": genes}))
    found = score_task(read_task(tmp_path, "HER2"), embeddings, Cell("hest_exact", "handcrafted", "ridge", 1), tmp_path)
    assert found["components"] == 81
    for fold, known in zip(found["folds"], expected.values(), strict=True):
        assert fold["pearson_mean"] == pytest.approx(known["pearson_mean"], abs=0.003)
        away = [abs(fold["pearson"][gene] - known["pearson"][gene]) for gene in genes]
        assert max(away) < 0.05
    means = [known["pearson_mean"] for known in expected.values()]
    assert found["pearson_std"] == pytest.approx(np.std(means), abs=0.003)


@pytest.fixture(scope="module")
def ours(tmp_path_factory):
    """A benchmark of ours with pictures: patches in another order than spots, one spot without, one off tissue."""
    cohort = Cohort(tmp_path_factory.mktemp("ours"), seed=3, spots=19)
    rng = np.random.default_rng(8)
    cohort.stored = {}
    for name in cohort.donor_of:
        cohort.write_expression(name, in_tissue=np.arange(19) != 4)
        barcodes = np.array(cohort.barcodes(name))[rng.permutation(19)[1:]].tolist()
        tint = rng.integers(60, 200, (18, 1, 1, 3))
        images = np.clip(tint + rng.normal(0, 30, (18, SIDE, SIDE, 3)), 0, 255).astype(np.uint8)
        patches = cohort.folder / f"{name}.patches.h5"
        write_patches(patches, barcodes, images)
        cohort.stored[name] = StoredSample(cohort.expression[name], patches)
        cohort.embeddings[name] = cohort.folder / f"{name}.embeddings.h5"
        embed_sample(cohort.embeddings[name], patches, HANDCRAFTED, sample=name, encoder="handcrafted")
    return cohort


def exported(cohort, folder, splits=None, protocol="hest_exact"):
    splits = splits or cohort.splits()
    with Targets(cohort.choose(protocol, splits)) as targets:
        return export_task(splits, targets, cohort.stored, folder)


def test_there_and_back_the_scores_are_the_same_by_the_command_and_in_the_workflow(ours, tmp_path):
    here = ours.evaluate("hest_exact", encoder="handcrafted")
    assert exported(ours, tmp_path / "demo") == sorted(ours.donor_of)
    task = read_task(tmp_path, "demo")
    assert {path.name for path in (tmp_path / "demo").iterdir()} == {"patches", "adata", "splits", "var_50genes.json"}
    taken = {name: take(tmp_path, "demo", name, tmp_path / "store" / name) for name in task.samples}
    embeddings = {name: folder / "embeddings.h5" for name, folder in taken.items()}
    for name, folder in taken.items():
        patches = folder / "patches.h5"
        assert patches.stat().st_size < task.samples[name].patches.path.stat().st_size / 5, "pictures are not copied"
        embed_sample(embeddings[name], patches, HANDCRAFTED, sample=name, encoder="handcrafted")
    cell = Cell("hest_exact", "handcrafted", "ridge", 1)
    there = score_task(task, embeddings, cell, tmp_path)
    splits, targets = gather(tmp_path, "demo", taken)
    assert len(there["folds"]) == len(splits["folds"]) == len(here) == 2
    scoring = Scoring(splits, "hest_exact", ["pearson"], 1, 1500.0)
    with Targets(targets) as opened:
        for mine, fold in zip(here, there["folds"], strict=True):
            prediction = predict_fold(cell, fold["fold"], splits, opened, embeddings)
            write_prediction(tmp_path / "fold.h5", prediction)
            labels = {**scoring.labels(), "predictor": "handcrafted+ridge", "fold": fold["fold"]}
            table = score_fold(scoring, opened, labels, tmp_path / "fold.h5")[1].to_pandas()
            known = mine.by_gene()
            assert len(known) == 20
            assert fold["pearson"] == pytest.approx(known, abs=1e-12)
            assert dict(zip(table["gene"], table["value"], strict=True)) == pytest.approx(known, abs=1e-12)
            assert mine["pearson_mean"] == pytest.approx(fold["pearson_mean"], abs=1e-6), "columns have six decimals"


def test_pictures_keep_their_barcode_and_counts_their_spot(ours, tmp_path):
    exported(ours, tmp_path / "demo")
    table = anndata.read_h5ad(tmp_path / "demo/adata/b1.h5ad")
    known = dict(zip(ours.barcodes("b1"), ours.counts["b1"], strict=True))
    with h5py.File(ours.stored["b1"].patches) as source, h5py.File(tmp_path / "demo/patches/b1.h5") as file:
        pictures = dict(zip(source["barcode"].asstr()[:, 0], source["img"][...], strict=True))
        barcodes = file["barcode"].asstr()[:, 0].tolist()
        assert list(table.obs_names) == barcodes == [one for one in known if one in pictures and one != "4x2"]
        for barcode, image, counts in zip(barcodes, file["img"][...], table.X.toarray(), strict=True):
            assert (image == pictures[barcode]).all()
            assert (counts == known[barcode]).all()


def test_what_the_layout_cannot_hold_is_refused_and_leaves_nothing(ours, tmp_path):
    splits = ours.splits()
    shared = json.loads(json.dumps(splits))
    shared["folds"][1]["train"].append("b1")
    for changed, protocol, said in (
        (None, "strict", "genes of its own"),
        ({**splits, "folds": [], "reason": "no donor"}, "hest_exact", "no folds"),
    ):
        with pytest.raises(Refusal, match=said):
            exported(ours, tmp_path / "demo", changed, protocol)
    with Targets(ours.choose("hest_exact")) as targets, pytest.raises(Refusal, match="b1 is on both sides of fold 1"):
        export_task(shared, targets, ours.stored, tmp_path / "demo")
    lacking = {**ours.stored, "b2": StoredSample(ours.expression["b2"], tmp_path / "none.h5")}
    with Targets(ours.choose("hest_exact")) as targets, pytest.raises(FileNotFoundError):
        export_task(splits, targets, lacking, tmp_path / "demo")
    assert list(tmp_path.iterdir()) == []
    exported(ours, tmp_path / "demo")
    with pytest.raises(Refusal, match="there already"):
        exported(ours, tmp_path / "demo")


def score(task, value, encoder="uni", probe="ridge", components=256, protocol="hest_exact"):
    return {"task": task, "encoder": encoder, "probe": probe, "protocol": protocol} | {
        "components": components,
        "pearson_mean": value,
    }


def test_measured_cells_stand_beside_published_ones():
    cells = [
        {"encoder": "uni", "probe": probe, "task": task, "pearson_mean": "0.5000", "source": "a table"}
        for task, probe in (
            ("IDC", "pca256+ridge"),
            ("IDC", "ridge"),
            ("LUAD", "pca256+ridge"),
            ("READ", "pca256+ridge"),
        )
    ] + [{"encoder": "gpfm", "probe": "pca256+ridge", "task": "IDC", "pearson_mean": "0.5660", "source": "a table"}]
    scores = [score("IDC", 0.50304), score("LUNG", 0.4968), score("IDC", 0.9, protocol="strict")]
    rows = published.compare(cells, scores, {("idc", "gpfm"): "encoder gpfm is unavailable: gated"})
    assert [row["within"] for row in rows] == ["yes", "", "no", "", ""]
    assert rows[0]["difference"] == "+0.0030"
    assert rows[2]["difference"] == "-0.0032"
    assert rows[1]["reason"] == "this encoder and probe were not asked for on this task"
    assert rows[3]["reason"] == "this task was not asked for, or is not in the folder"
    assert rows[4]["reason"] == "encoder gpfm is unavailable: gated"
    few = published.compare(cells[:1], [score("IDC", 0.5, components=81)], {})[0]
    assert (few["within"], few["reason"]) == ("", "not comparable: 81 components, published with 256")
    assert published.summary(rows).startswith("1 of 2 measured cells within 0.003")


def test_every_published_cell_has_a_number_or_a_reason():
    rows = published.compare(published.read_published(), [score("IDC", 0.57)], {})
    assert len(rows) == 338
    assert all(bool(row["within"]) != bool(row["reason"]) for row in rows)
    assert [(row["source"], row["published"], row["difference"]) for row in rows if row["within"]] == [
        ("HEST-1k table 1", "0.5702", "-0.0002"),
        ("soma-pathology 2.2.0", "0.5890", "-0.0190"),
    ]


def measuring(**changed):
    asked = {"probes": ["ridge"], "protocol": "hest_exact", "seed": 1, "device": "cpu", "batch": 64, "code": "abc"}
    encoders = {"handcrafted": HANDCRAFTED}
    return command.Measuring(**{"encoders": encoders, "weights_folder": None, **asked, **changed})


def test_a_number_is_kept_with_all_it_depends_on(root, tmp_path):
    out = tmp_path / "out"
    command.measure(root, [], measuring(), out)
    command.measure(root, ["T"], measuring(), out)
    lines = [json.loads(line) for line in (out / "measured.jsonl").read_text().splitlines()]
    assert len(lines) == 2, "only ever added to"
    assert {**lines[0], "date": ""} == {**lines[1], "date": ""}
    assert lines[0]["weights"] == {"weights": "none"}
    assert (lines[0]["code"], lines[0]["device"].split()[0], len(lines[0]["folds"])) == ("abc", "cpu", 2)
    assert {path.name for path in out.iterdir()} == {"scores.csv", "published.csv", "measured.jsonl"}
    with h5py.File(root / "T/patches/M3.h5", "a") as file:
        file["img"][0, 0, 0, 0] ^= 1
    command.measure(root, ["T"], measuring(), out)
    assert json.loads((out / "measured.jsonl").read_text().splitlines()[2])["data_sha256"] != lines[0]["data_sha256"]


def test_weights_that_cannot_be_had_are_a_row_with_the_reason(root, tmp_path):
    row = {"encoder": "gone", "builder": "timm_model", "architecture": "resnet18", "weights": "file", "dim": "512"}
    row |= {"source": str(tmp_path / "none.bin"), "input_px": str(SIDE), "resize": "none", "pool": "none"}
    row |= {"mean": "0 0 0", "std": "1 1 1", "dtype": "float32", "arguments": "", "gated": "no", "sha256": "0" * 64}
    command.measure(root, ["T"], measuring(encoders={"gone": row}), tmp_path / "out")
    scores = pd.read_csv(tmp_path / "out/scores.csv")
    assert scores["reason"].str.startswith("encoder gone is unavailable: ").all()
    assert scores["pearson_mean"].isna().all()
    assert (tmp_path / "out/measured.jsonl").read_text() == ""


def test_a_folder_that_is_refused_leaves_nothing(root, tmp_path):
    (root / "T/adata/M3.h5ad").unlink()
    with pytest.raises(Refusal, match=r"M3\.h5ad"):
        command.measure(root, [], measuring(), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_numbers_measured_before_the_world_fails_are_kept(root, tmp_path, monkeypatch):
    scored = command._scored

    def fails(task, encoder, *rest):
        if encoder == "second":
            raise ConnectionError("the hub cannot be reached")
        return scored(task, encoder, *rest)

    monkeypatch.setattr(command, "_scored", fails)
    both = {"handcrafted": HANDCRAFTED, "second": {**HANDCRAFTED, "encoder": "second"}}
    with pytest.raises(ConnectionError):
        command.measure(root, ["T"], measuring(encoders=both), tmp_path / "out")
    assert list(pd.read_csv(tmp_path / "out/scores.csv")["encoder"]) == ["handcrafted"]
    assert len((tmp_path / "out/measured.jsonl").read_text().splitlines()) == 1


def test_export_says_what_to_run_first(tmp_path):
    with pytest.raises(Refusal, match="run the benchmark of task her2st under hest_exact first"):
        command.export(tmp_path, "her2st", tmp_path / "out", "hest_exact")
