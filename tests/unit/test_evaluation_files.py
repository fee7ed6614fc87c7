"""Labels of people joined to spots, and the whole command on a dataset's folder, real sections among them."""

import csv
import gzip
import json
import subprocess
import sys

import anndata
import h5py
import numpy as np
import pandas as pd
import pytest
from scipy.sparse import csr_matrix

from project import ROOT
from real_data import real
from spotweave.errors import Refusal
from spotweave.evaluation import Origins
from spotweave.evaluation.command import run
from spotweave.evaluation.files import Asked
from spotweave.evaluation.labels import join_labels, read_labels
from spotweave.evaluation.probing import FLOOR, WHAT, linear_probe
from spotweave.io import REFUSED


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (
            "barcode\tlabel\nA-1\ttumour\nB-1\tUndetermined\nC-1\t\n",
            {("s", "A-1"): "tumour", ("s", "B-1"): "", ("s", "C-1"): ""},
        ),
        ("spot,label\nA-1,NULL\nB-1,Exclude\nC-1,NA\n", {("s", "A-1"): "", ("s", "B-1"): "", ("s", "C-1"): ""}),
        ("name\tx\ty\tlabel\n1x2\t9.02\t20.994\tstroma\n", {("s", "9x21"): "stroma"}),
        ("A-1\ts\tL1\nA-1\tt\tL2\n", {("s", "A-1"): "L1"}),
        ("sample_id,barcode,annotation\nt,A-1,x\ns,A-1,y\n", {("s", "A-1"): "y"}),
        ("\tsample_name\tV2\ns_9x2\ts\tWM\n", {("s", "s_9x2"): "WM"}),
    ],
)
def test_tables_of_labels(tmp_path, text, found):
    (tmp_path / "labels.tsv").write_text(text)
    assert read_labels(tmp_path / "labels.tsv", "s") == found


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("barcode\tkind\nA\tb\n", "one called label"),
        ("name\tlabel\nA\tb\n", "one called barcode"),
        ("barcode\tlabel\nA\tb\nA\tc\n", "row 3: spot A has another label in a row above"),
        ("barcode\tlabel\nA\tb\tc\n", "row 2 has 3 fields where 2 are expected"),
        ("x\ty\tlabel\nnan\t1\tc\n", "row 2: x and y are no places"),
        ("x\ty\tlabel\n1e999\t1\tc\n", "row 2: x and y are no places"),
        ("", "empty"),
    ],
)
def test_labels_that_cannot_be_read_are_refused_in_a_line(tmp_path, text, said):
    (tmp_path / "labels.tsv").write_text(text)
    with pytest.raises(Refusal, match=rf"labels\.tsv.*{said}"):
        read_labels(tmp_path / "labels.tsv", "s")


def test_labels_meet_spots_by_name_never_by_order():
    spots = {"s": ["C", "A", "B"], "t": ["A"]}
    labels = {("s", "A"): "a", ("s", "B"): "", ("T1", "A"): "of t", ("", "s_C"): "c"}
    assert join_labels(spots, labels, {"T1": "t"}) == {"s": ["c", "a", ""], "t": ["of t"]}
    with pytest.raises(Refusal, match="no label is of a spot that is here: the labels have A of u, the samples C of s"):
        join_labels(spots, {("u", "A"): "a"}, {})


def test_real_labels_of_a_breast_section_are_those_of_its_counts():
    """343 spots; names of the table are rounded pixels, the places beside them are the names of the counts."""
    labels = read_labels(real("data", "her2st", "A1_labeled_coordinates.tsv"), "a1")
    with gzip.open(real("data", "her2st", "A1.tsv.gz"), "rt") as handle:
        _, *rows = list(csv.reader(handle, delimiter="\t"))
    spots = [row[0] for row in rows]
    (joined,) = join_labels({"a1": spots}, labels, {}).values()
    told = pd.Series(joined).value_counts().to_dict()
    known = ["invasive cancer", "connective tissue", "cancer in situ", "adipose tissue", "immune infiltrate"]
    assert [told[name] for name in known] == pytest.approx([284, 24, 21, 12, 2], abs=3)
    assert sum(told[name] for name in known) >= 340
    counts = np.array([row[1:] for row in rows], dtype=float)
    shares = np.log1p(counts / counts.sum(axis=1, keepdims=True) * 1e4)
    shares -= shares.mean(axis=0)
    points = np.linalg.svd(shares, full_matrices=False)[0][:, :20] * 10
    has = np.array([bool(label) for label in joined])
    origins = Origins(np.full(has.sum(), "a1"), np.full(has.sum(), "A"), None)
    rows = linear_probe(points[has], np.array(joined)[has], origins, "random")
    scores, floors = ([row.value for row in rows if row.what == what] for what in (WHAT, FLOOR))
    assert np.mean(scores) > 1.5 * np.mean(floors)


def test_real_layers_of_four_brain_sections():
    labels = read_labels(real("data", "dlpfc", "barcode_level_layer_map.tsv"))
    assert len(labels) == 14899
    counts = pd.Series([sample for sample, _ in labels]).value_counts().to_dict()
    assert counts == {"151507": 4221, "151669": 3636, "151673": 3611, "151676": 3431}
    assert sorted(set(labels.values())) == ["L1", "L2", "L3", "L4", "L5", "L6", "WM"]
    assert labels["151507", "AAACAACGAATAGTTC-1"] == "L1"


# The command


SPOTS = 60


@pytest.fixture
def results(tmp_path):
    """A dataset of four samples of three donors, one refused; `tuned` tells labels in the second fold alone."""
    folder = tmp_path / "toy"
    rng = np.random.default_rng(0)
    rows = [("a1", "A"), ("a2", "A"), ("b", "B"), ("c", "C")]
    folder.mkdir()
    (folder / "toy.csv").write_text(
        "id,donor,pixel_size_um_estimated,subseries\n"
        + "".join(f"{name},{donor},0.5,S{name}\n" for name, donor in rows)
    )
    labels = ["barcode\tsample\tlabel"]
    for name, _ in rows:
        store = folder / "samples" / name
        (store / "embeddings").mkdir(parents=True)
        barcodes = [f"{at}x{len(name)}" for at in range(SPOTS)]
        kinds = np.resize([0, 1], SPOTS)
        counts = rng.poisson(3 + 20 * kinds[:, None] * [[1, 0]])
        obs = pd.DataFrame({"in_tissue": np.ones(SPOTS, bool)}, index=barcodes)
        place = np.stack([np.arange(SPOTS) % 10, np.arange(SPOTS) // 10], 1) * 400.0
        table = anndata.AnnData(
            csr_matrix(counts.astype("f4")), obs, pd.DataFrame(index=["G1", "G2"]), obsm={"spatial": place}
        )
        table.write_h5ad(store / "st.h5ad")
        base = rng.normal(size=(SPOTS, 6)).astype("f4")
        order = rng.permutation(SPOTS)  # patches are not in the order of spots
        for encoder, datasets in {
            "base": {"embeddings": base},
            "tuned": {f"fold{fold}/embeddings": base + 9 * kinds[:, None] * (fold == 1) for fold in (0, 1)},
        }.items():
            with h5py.File(store / f"embeddings/{encoder}.h5", "w") as file:
                of_order = np.array(barcodes, dtype=object)[order][:, None]
                file.create_dataset("barcode", data=of_order, dtype=h5py.string_dtype())
                for dataset, values in datasets.items():
                    file[dataset] = values[order]
        labels += [
            f"{barcode}\tS{name}\t{'no' if kind else 'yes'}" for barcode, kind in zip(barcodes, kinds, strict=True)
        ]
    (folder / "samples/refused/embeddings").mkdir(parents=True)
    (folder / "samples/refused/embeddings/base.h5").write_bytes(REFUSED)
    (folder / "benchmark/t").mkdir(parents=True)
    folds = [
        {"fold": 0, "test_donors": ["A"], "train": ["b", "c"], "test": ["a1", "a2"]},
        {"fold": 1, "test_donors": ["B"], "train": ["a1", "a2", "c"], "test": ["b"]},
    ]
    (folder / "benchmark/t/splits.json").write_text(json.dumps({"task": "t", "folds": folds, "reason": None}))
    (tmp_path / "labels.tsv").write_text("\n".join(labels) + "\n")
    return folder


def read_rows(out):
    with open(out / "evaluation.csv", newline="") as handle:
        return list(csv.DictReader(handle))


def test_an_encoder_of_folds_is_evaluated_in_each_on_what_it_tests(results, tmp_path):
    asked = Asked(
        ["base", "tuned"], "t", [str(tmp_path / "labels.tsv")], genes=["G1", "NONE"], seeds=(1, 2), with_maps=True
    )
    said = run(results, asked, tmp_path / "one")
    run(results, asked, tmp_path / "two")
    for name in ("evaluation.csv", "evaluation.json", "maps/b.png"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()
    rows = read_rows(tmp_path / "one")
    assert f"{len(rows)} rows" in said
    assert {(row["encoder_fold"], row["sample"]) for row in rows if row["what"] == "rankme" and row["sample"]} == {
        ("0", "a1"),
        ("0", "a2"),
        ("1", "b"),
    }
    f1 = {
        (row["embedding"], row["encoder_fold"]): float(row["value"])
        for row in rows
        if (row["what"], row["split"], row["seed"]) == ("linear_probe_f1", "donor", "1")
    }
    assert f1["tuned", "1"] == 1
    assert max(f1["base", "0"], f1["base", "1"], f1["tuned", "0"]) < 0.75
    content = json.loads((tmp_path / "one/evaluation.json").read_text())
    assert content["spots"]["fold 1"]["labelled"] == dict.fromkeys(["a1", "a2", "b", "c"], SPOTS)
    assert content["spots"]["fold 0"]["genes_not_in_all_samples"] == ["NONE"]
    (probed,) = [row for row in content["change"] if (row["what"], row["split"]) == ("linear_probe_f1", "donor")]
    assert probed["after"] - probed["before"] == pytest.approx(probed["change"], abs=1e-8)
    of_gene = [
        row["mean"]
        for row in content["summary"]
        if (row["embedding"], row["what"], row["split"], row["gene"]) == ("tuned", "gene_mse_ridge", "donor", "G1")
    ]
    values = {}
    for row in rows:
        if (row["embedding"], row["what"], row["split"], row["gene"]) == ("tuned", "gene_mse_ridge", "donor", "G1"):
            values.setdefault(row["encoder_fold"], []).append(float(row["value"]))
    assert of_gene == pytest.approx([np.mean([np.mean(of) for of in values.values()])])
    leaks = {row["split"]: row["leaks"] for row in content["summary"]}
    assert leaks["random"].startswith("leaks: ")
    assert leaks["donor"] == ""


def test_pairs_with_expression_are_retrieved_and_the_script_runs(results, tmp_path):
    # Those of `base` lie where recipes leave them, and an encoder without any is asked for no retrieval.
    for name in ("a1", "a2", "b", "c"):
        found = (results / f"samples/{name}/embeddings/base.h5").read_bytes()
        (results / f"samples/{name}/embeddings/other.h5").write_bytes(found)
        for path in (results / f"samples/{name}/expression_embeddings/base.h5", tmp_path / f"pairs/base/{name}.h5"):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(found)
    (tmp_path / "slides.csv").write_text("sample,label\na1,x\na2,x\nb,y\nc,y\n")
    command = [
        sys.executable,
        str(ROOT / "scripts/evaluate_embeddings.py"),
        str(results),
        "--encoders",
        "base",
        "other",
    ]
    command += ["--slide-labels", str(tmp_path / "slides.csv"), "--genes"]
    named = [*command[:6], "--of-expression", str(tmp_path / "pairs"), "--genes", "--out", str(tmp_path / "named")]
    assert subprocess.run(named, check=False).returncode == 0
    recalled = [row for row in read_rows(tmp_path / "named") if row["what"] == "recall@1_image_to_gene"]
    assert {row["value"] for row in recalled} == {"1.0"}
    done = subprocess.run([*command, "--out", str(tmp_path / "out")], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    rows = read_rows(tmp_path / "out")
    recalled = [row for row in rows if row["what"] == "recall@1_image_to_gene"]
    assert {(row["embedding"], row["value"]) for row in recalled} == {("base", "1.0")}
    assert [row["note"] for row in rows if row["what"] == "slide_auc"] == [
        "a label has slides of one donor only: none to learn from while it is tested"
    ] * 2
    assert not [row for row in rows if row["what"].startswith("gene_mse")]
    done = subprocess.run(
        [*command[:3], "--encoders", "base", "tuned", "--out", str(tmp_path / "no")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "tuned.h5: its encoder was learned in folds: name their task (--task)" in done.stderr
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"encoders": ["base", "none"]}, "no sample has embeddings of base and none"),
        ({"task": "no"}, "run the benchmark of task no first"),
        ({"labels": ["c=labels.tsv"], "task": "t"}, "labels.tsv: no row is of a spot of c"),
    ],
)
def test_what_is_not_there_is_refused_in_a_line(results, tmp_path, monkeypatch, asked, said):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(Refusal, match=said):
        run(results, Asked(**{"encoders": ["base", "tuned"], **asked}), tmp_path / "out")
    assert not (tmp_path / "out").exists()
