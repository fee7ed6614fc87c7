"""Which spots and genes are looked at for batch effects, what is told of them, and what the configuration may ask."""

from __future__ import annotations

from pathlib import Path

import anndata
import numpy as np
import pandas as pd
import pytest
import yaml

from spotweave.batch import explore, figure, spots
from spotweave.batch.settings import Settings
from spotweave.errors import TableFaults
from spotweave.io import write_json
from spotweave.plan import batches, tables

ROOT = Path(__file__).resolve().parents[2]
GENES = ["EEF2", "UBC", "RHOA"]


def write_sample(path, counts, genes, *, ids=None, in_tissue=None, stroma=None):
    """A sample's AnnData as the workflow writes it; `stroma` is (nuclei, share of Connective) of each spot."""
    obs = pd.DataFrame(index=[f"s{number}" for number in range(len(counts))])
    obs["in_tissue"] = True if in_tissue is None else in_tissue
    if stroma is not None:
        obs["nuclei"], obs["nuclei_share_connective"] = np.array(stroma, dtype=float).T
    var = pd.DataFrame({"gene_id": ids} if ids else {}, index=genes)
    data = anndata.AnnData(np.asarray(counts, dtype=np.float32), obs=obs, var=var)
    data.write_h5ad(path)
    return path


def some_counts(seed, n=30, genes=4, factor=1.0):
    return np.random.default_rng(seed).poisson(20 * factor, (n, genes)) + 1


def test_spots_are_chosen_by_their_nuclei(tmp_path):
    """More than 0.7 Connective, and 3 of them: of spots in tissue; NaN is the share where there is no nucleus."""
    stroma = [(4, 0.75), (10, 0.7), (10, 0.8), (2, 1.0), (3, 1.0), (0, np.nan), (9, 0.9)]
    counts = some_counts(0, n=7)
    path = write_sample(tmp_path / "a.h5ad", counts, [*GENES, "X"], stroma=stroma, in_tissue=[True] * 6 + [False])
    looked = spots.look({"a": path}, GENES, Settings(spots_min=2), 0)
    assert looked.table == [
        {
            "sample_id": "a",
            "spots_in_tissue": 6,
            "spots_chosen": 3,
            "spots_used": 3,
            "chosen_by": "Connective",
            "genes_missing": "",
            "left_out": "",
        }
    ]
    own = counts[[0, 2, 4]]
    assert np.allclose(looked.values, np.log1p(1e4 * own[:, :3] / own.sum(axis=1, keepdims=True)))
    assert set(looked.table[0]) == set(spots.COLUMNS)


def test_without_classes_all_spots_are_looked_at_and_that_is_said(tmp_path):
    path = write_sample(tmp_path / "a.h5ad", some_counts(0, n=6), [*GENES, "X"])
    looked = spots.look({"a": path}, GENES, Settings(), 0)
    assert (looked.table[0]["spots_used"], looked.table[0]["chosen_by"]) == (6, spots.ALL_SPOTS)


def test_samples_that_say_too_little_are_left_out_with_the_reason(tmp_path):
    files = {
        "good": write_sample(tmp_path / "good.h5ad", some_counts(0), [*GENES, "X"]),
        "panel": write_sample(tmp_path / "panel.h5ad", some_counts(1), ["A", "B", "C", "EEF2"]),
        "few": write_sample(tmp_path / "few.h5ad", some_counts(2, n=4), [*GENES, "X"]),
        "empty": write_sample(tmp_path / "empty.h5ad", np.eye(6, 4)[::-1] * [1, 1, 0, 0], [*GENES, "X"]),
        "lacks": write_sample(tmp_path / "lacks.h5ad", some_counts(3), ["UBC", "EEF2", "Y", "X"]),
    }
    looked = spots.look(files, GENES, Settings(), 0)
    told = {row["sample_id"]: row["left_out"] for row in looked.table}
    assert told == {
        "good": "",
        "panel": "it has 1 of 3 listed genes, fewer than half",
        "few": "4 spots are chosen, 5 are needed",
        "empty": "2 chosen spots have counts, 5 are needed",
        "lacks": "",
    }
    assert [row["genes_missing"] for row in looked.table] == ["", "UBC RHOA", "", "", "RHOA"]
    assert looked.genes == ["EEF2", "UBC"]
    assert sorted(set(looked.samples)) == ["good", "lacks"]
    counts = some_counts(3)
    shares = np.log1p(1e4 * counts[:, [1, 0]] / counts.sum(axis=1, keepdims=True))
    assert np.allclose(looked.values[looked.samples == "lacks"], shares)


def test_genes_meet_by_their_ids_and_constant_ones_say_nothing(tmp_path):
    ids = ["ENSG00000000001", "ENSG00000000002", "ENSG00000000003", ""]
    counts = some_counts(1)
    counts[:, 2] = 0
    files = {
        "a": write_sample(tmp_path / "a.h5ad", counts, [*GENES, "X"], ids=ids),
        "b": write_sample(tmp_path / "b.h5ad", counts, [ids[0], "UBC", "RHOA", "X"], ids=ids),
    }
    looked = spots.look(files, GENES, Settings(), 0)
    assert looked.genes == ["EEF2", "UBC"]
    assert np.array_equal(looked.values[looked.samples == "a"], looked.values[looked.samples == "b"])


def test_of_many_spots_as_many_of_each_sample_are_drawn_the_same_for_the_same_seed(tmp_path):
    files = {name: write_sample(tmp_path / name, some_counts(1, n=90), [*GENES, "X"]) for name in ("a", "b")}
    files["c"] = write_sample(tmp_path / "c", some_counts(2, n=20), [*GENES, "X"])
    looked = spots.look(files, GENES, Settings(spots_max=100), 1)
    assert [row["spots_used"] for row in looked.table] == [33, 33, 20]
    again, other = (spots.look(files, GENES, Settings(spots_max=100), seed) for seed in (1, 2))
    assert np.array_equal(looked.values, again.values)
    assert not np.array_equal(looked.values, other.values)
    alone = spots.look(
        {name: files[name] for name in ("b",)} | {"x": files["a"], "y": files["c"]}, GENES, Settings(spots_max=100), 1
    )
    assert np.array_equal(alone.values[alone.samples == "b"], looked.values[looked.samples == "b"])


def test_accepted_samples_are_those_of_the_cohorts_that_no_stage_refused(tmp_path):
    row = {"cohort": "one", "donor": "A"}
    entries = [
        {"sample_id": "a", "refusal": None, "row": row},
        {"sample_id": "b", "refusal": {"stage": "x"}, "row": row},
    ]
    write_json(tmp_path / "one.json", {"samples": entries})
    write_json(tmp_path / "two.json", {"samples": [{"sample_id": "c", "refusal": None, "row": {"cohort": "two"}}]})
    found = spots.accepted_rows([tmp_path / "one.json", tmp_path / "two.json"])
    assert found == {"a": row, "c": {"cohort": "two"}}


@pytest.fixture
def dataset(tmp_path, monkeypatch):
    """Three samples, two cohorts of one organ each, one of the samples with twice the counts of a gene."""
    monkeypatch.setattr(explore, "layout", lambda components, seed: components[:, :2])
    genes = [f"G{number}" for number in range(6)]
    files, rows = {}, {}
    for number, (name, cohort) in enumerate({"a": "one", "b": "one", "c": "two"}.items()):
        counts = some_counts(number, n=60, genes=8)
        counts[:, 0] *= 2 if name == "c" else 1
        files[name] = write_sample(tmp_path / f"{name}.h5ad", counts, [*genes, "X", "Y"])
        rows[name] = {"cohort": cohort, "donor": name, "technology": "Visium", "organ": f"organ {cohort}"}
    return rows, files, genes, tmp_path / "umap.png"


def test_every_label_is_scored_before_and_after_every_correction(dataset):
    rows, files, genes, picture = dataset
    found = explore.explore(rows, files, genes, Settings(), 1, picture)
    table = pd.DataFrame(found.scores)
    assert tuple(table.columns) == explore.COLUMNS
    scored = table[table["correction"] != ""]
    which = ["silhouette_batch", "lisi_batch", "kbet_rejection", "silhouette_organ", "lisi_organ", "neighbours_kept"]
    expected = [(label, name, one) for label in ("cohort", "donor") for name in Settings().corrections for one in which]
    assert list(scored[["label", "correction", "score"]].itertuples(index=False, name=None)) == expected
    by_batch = scored[scored["score"] == "silhouette_batch"].astype({"before": float, "after": float})
    assert (by_batch.loc[by_batch["correction"] == "combat", "after"] < 0.5 * by_batch["before"].max()).all()
    assert by_batch.groupby("label")["before"].nunique().max() == 1
    alone = table[table["label"] == "technology"]
    assert alone["note"].tolist() == ["one technology, Visium: nothing to compare"]
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_biology_that_cannot_be_told_from_batches_is_said(dataset):
    rows, files, genes, picture = dataset
    settings = Settings(corrections=("combat",), labels=("cohort",))
    by_score = {row["score"]: row for row in explore.explore(rows, files, genes, settings, 1, picture).scores}
    assert by_score["silhouette_organ"]["note"].startswith("no organ is in two values of cohort")
    assert by_score["silhouette_batch"]["note"] == ""
    rows["b"]["organ"] = "organ two"
    by_score = {row["score"]: row for row in explore.explore(rows, files, genes, settings, 1, picture).scores}
    assert by_score["silhouette_organ"]["note"] == ""
    for row in rows.values():
        del row["organ"]
    by_score = {row["score"]: row for row in explore.explore(rows, files, genes, settings, 1, picture).scores}
    assert by_score["lisi_organ"]["note"] == "one organ, not stated: nothing to keep apart"
    assert by_score["lisi_organ"]["before"] is None


def test_what_cannot_be_corrected_stands_in_the_table(dataset, monkeypatch):
    rows, files, genes, picture = dataset

    def refuse(name, *arguments):
        raise explore.CannotCorrect("too alike")

    monkeypatch.setattr(explore, "corrected", refuse)
    found = explore.explore(rows, files, genes, Settings(labels=("donor",)), 1, picture).scores
    assert [(row["correction"], row["after"], row["note"]) for row in found] == [
        (name, None, "too alike") for name in Settings().corrections
    ]


def test_too_few_samples_or_genes_give_a_note_and_a_picture(dataset):
    rows, files, genes, picture = dataset
    found = explore.explore({"a": rows["a"]}, files, genes, Settings(), 1, picture)
    why = "60 spots of 1 samples, 6 of 6 genes: two samples and two genes are needed"
    assert [row["note"] for row in found.scores] == [why] * 3
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_the_same_components_have_the_same_places():
    components = np.random.default_rng(0).normal(size=(60, 4)) + np.repeat([[0], [9]], 30, axis=0)
    places = figure.layout(components, 3)
    assert np.array_equal(places, figure.layout(components, 3))
    one, two = places[:30].mean(axis=0), places[30:].mean(axis=0)
    assert np.linalg.norm(one - two) > places[:30].std()


def faults_of(**block):
    config = yaml.safe_load((ROOT / "config/config.yaml").read_text())
    config |= {"cohorts": ["config/cohorts/demo.csv"], "dataset": "demo", "tasks": [], "recipes": [], "batches": block}
    try:
        tables.load(config, ROOT, "mine.yaml")
    except TableFaults as faults:
        return faults.faults
    return []


@pytest.mark.parametrize(
    ("block", "fault"),
    [
        ({}, None),
        ({"genes": ["A", "B"], "labels": ["cohort", "preservation"], "biology": []}, None),
        (
            {"corrections": ["combatt"]},
            "corrections: 'combatt' is no correction of batch effects, did you mean 'combat'?",
        ),
        ({"labels": ["donr"]}, "labels: 'donr' is no column, did you mean 'donor'?"),
        ({"biology": ["organs"]}, "biology: 'organs' is no column, did you mean 'organ'?"),
        ({"genes": "variable"}, "genes: 'variable' is chosen for a task, allowed: her2st_785, stable_human, the path"),
        ({"genes": "none.txt"}, "genes: list of genes none.txt: No such file or directory"),
        ({"genes": ["A"]}, "genes: ['A'] ("),
        ({"share_max": 1}, "share_max: unknown key, did you mean 'share_min'?"),
        ({"spots_max": 10}, "spots_max: 10 ("),
    ],
)
def test_what_the_configuration_asks_is_checked_before_the_first_job(monkeypatch, block, fault):
    monkeypatch.chdir(ROOT)
    found = faults_of(**block)
    assert found == [] if fault is None else len(found) == 1 and found[0].startswith(f"mine.yaml:batches.{fault}"), (
        found
    )


def test_a_configuration_without_the_block_asks_for_nothing():
    config = yaml.safe_load((ROOT / "config/config.yaml").read_text())
    assert not batches.wanted(config)
    assert batches.settings({}) == {}
    assert len(batches.genes({})) == 18
    assert batches.corrections({}) == ["combat", "harmony", "mnn"]


def test_the_commented_block_of_the_configuration_has_the_librarys_defaults():
    text = (ROOT / "config/config.yaml").read_text()
    lines = text[text.index("# batches:\n") :].split("\n\n")[0].splitlines()
    block = yaml.safe_load("\n".join(line.removeprefix("# ") for line in lines))["batches"]
    assert block.pop("genes") == batches.GENES
    assert {name: tuple(one) if isinstance(one, list) else one for name, one in block.items()} == vars(Settings())
