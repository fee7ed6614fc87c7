"""Pictures of a comparison: who stands where, which genes, which clusters; the same bytes again."""

import csv
import itertools
import json
import math

import draw_methods
import numpy as np
import pandas as pd
import pytest
from matplotlib.patches import Circle
from PIL import Image

from spotweave.benchmark import long_table
from spotweave.benchmark.categories import category_ranks
from spotweave.benchmark.figures import clusters, ranking, spatial, violins
from spotweave.benchmark.figures.drawing import Order
from spotweave.benchmark.figures.gathered import Section, read_ranks, sections_of, task_ranks
from spotweave.benchmark.leaderboard import write as write_csv
from spotweave.benchmark.predictions import NotPredicted, Prediction, write_prediction
from spotweave.benchmark.targets import Chosen, Spots, write_targets
from spotweave.errors import Refusal
from spotweave.plan.options import labels_of

GENES = [f"G{number:02d}" for number in range(12)]
PREDICTORS = ("good+ridge", "fair", "flat", "part")
METRICS = ("mse", "pearson")
FRAME = pd.DataFrame


def means(values):
    """`value` by task, metric and predictor, as `category_ranks` takes it."""
    rows = [
        {"task": name, "protocol": "strict", "predictor": predictor, "metric": metric, "value": value}
        for name, by_metric in values.items()
        for metric, own in by_metric.items()
        for predictor, value in own.items()
    ]
    return FRAME(rows)


@pytest.fixture
def ranks(tmp_path):
    table = category_ranks(
        means(
            {
                "one": {
                    "pearson": {"fair": 0.2, "good+ridge": 0.4, "flat": math.nan},
                    "mse": {"fair": 1.0, "good+ridge": 2.0, "flat": 3.0},
                    "spearman": {"fair": 0.2, "good+ridge": 0.4, "flat": math.nan},
                },
                "two": {"pearson": {"fair": 0.2, "good+ridge": 0.1, "flat": math.nan, "part": 0.9}},
            }
        ),
        {"strict": PREDICTORS},
        "donors",
    )
    write_csv(table, tmp_path / "category_ranks.csv")
    return tmp_path / "category_ranks.csv"


class Study:
    """Two test sections in four regions with their own genes, and four predictors of them."""

    def __init__(self, folder):
        rng = np.random.default_rng(3)
        self.folder, spots, self.region, self.paths = folder, {}, {}, []
        for name, count in (("s1", 80), ("s2", 60)):
            region = np.repeat(np.arange(4), count // 4)
            level = 20 * rng.permuted(np.tile([1.0, 4.0, 8.0, 16.0], (len(GENES), 1)), axis=1).T
            counts = rng.poisson(level[region]).astype(np.float32)
            at = np.column_stack([region * 10 + np.arange(count) % 5, np.arange(count) % (count // 4) // 5]) * 100.0
            spots[name] = Spots([f"{name}x{row}" for row in range(count)], at, counts.sum(1) * 2.0, counts, GENES)
            self.region[name] = region
        self.spots = spots
        self.splits = {
            "task": "one",
            "donors": {"s1": "A", "s2": "B"},
            "folds": [
                {"fold": 0, "train": ["s2"], "test": ["s1"], "test_donors": ["A"]},
                {"fold": 1, "train": ["s1"], "test": ["s2"], "test_donors": ["B"]},
            ],
            "left_out": [],
        }
        (folder / "splits.json").write_text(json.dumps(self.splits))
        write_targets(folder / "targets.h5", spots, {0: Chosen(GENES), 1: Chosen(GENES)})
        rows = []
        for fold, name in enumerate(("s1", "s2")):
            truth = spots[name].on_scale("log_share", GENES)
            said = {
                "good+ridge": truth + rng.normal(0, 0.01, truth.shape),
                "fair": truth + rng.normal(0, 1.0, truth.shape),
                "flat": np.tile(truth.mean(0), (len(truth), 1)),
                "part": truth + rng.normal(0, 0.5, truth.shape),
            }
            for predictor, values in said.items():
                path = folder / f"predictions/{predictor}/fold{fold}.h5"
                path.parent.mkdir(parents=True, exist_ok=True)
                prediction = Prediction(values, spots[name].names, [name] * len(truth), GENES)
                if predictor == "part" and fold == 1:
                    prediction = Prediction.none(NotPredicted("no exemplars"), {})
                write_prediction(path, prediction)
                self.paths.append(path)
                for metric in METRICS:
                    labels = {"task": "one", "protocol": "strict", "predictor": predictor, "fold": fold}
                    if prediction.genes:
                        rows.append(long_table.rows(labels, metric, [name] * 12, GENES, rng.normal(size=12)))
        with long_table.Writer(folder / "scores.parquet") as table:
            for part in rows:
                table.write(part)

    def sections(self, **more):
        return sections_of(self.splits, self.folder / "targets.h5", "strict", self.paths, **{"largest": False, **more})


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    return Study(tmp_path_factory.mktemp("figures"))


# --- ranks ----------------------------------------------------------------------------------------


def test_the_best_of_the_task_stands_first_and_who_failed_there_last(ranks):
    read = read_ranks(ranks, "strict")
    order = Order.by(PREDICTORS, task_ranks(read, "one"))
    assert order.names == ["good+ridge", "fair", "flat", "part"]  # mean ranks 4/3, 5/3, 3.67; part is not there
    assert order.ranked == {"good+ridge", "fair", "flat"}
    assert Order.by(PREDICTORS, task_ranks(read, "two")).names[0] == "part"
    assert order.named("part") == "part \u2020" and order.named("good+ridge") == "good + ridge"
    assert order.remark(["fair"]) == "" and "\u2020" in order.remark(order.names)


def test_circles_are_larger_for_better_ranks_and_missing_where_there_is_no_value(ranks, tmp_path, monkeypatch):
    figures = []
    monkeypatch.setattr(ranking, "save", lambda figure, path: figures.append(figure))
    ranking.draw(read_ranks(ranks, "strict"), "one", tmp_path / "x.png")
    (axes,) = figures[0].axes
    rows = dict(enumerate(("good+ridge", "fair", "flat", "part")))
    found = {}
    for one in axes.patches:
        if isinstance(one, Circle) and one.center[1] < 4:
            found.setdefault(rows[math.floor(one.center[1])], {})[round(one.center[0], 2)] = one.radius
    # Columns from the left: pearson, spearman (higher is better), mse (lower is better), tasks one and two.
    assert sorted(found["good+ridge"]) == [0.5, 1.5, 4.6, 8.7, 9.7]
    assert sorted(found["flat"]) == [4.6, 8.7]  # its correlations are undefined; of task two it has none
    assert sorted(found["part"]) == [9.7]
    for column, best_first in ((0.5, ("good+ridge", "fair")), (4.6, ("fair", "good+ridge", "flat"))):
        sizes = [found[name][column] for name in best_first]
        assert sizes == sorted(sizes, reverse=True) and len(set(sizes)) == len(sizes)
    texts = [text.get_text() for text in axes.texts]
    assert texts.index("higher is better") < texts.index("lower is better") < texts.index("mean over metrics")
    assert "part \u2020" in texts and any(text.startswith("\u2020 lacks folds") for text in texts)


def test_a_task_in_which_no_metric_ranks_says_so(ranks, tmp_path):
    empty = read_ranks(ranks, "strict")
    ranking.draw(empty[empty["metric"] == ""], "one", tmp_path / "x.png")
    assert Image.open(tmp_path / "x.png").size[1] < 250


# --- what is drawn --------------------------------------------------------------------------------


def test_test_spots_stand_beside_what_was_said_of_them_and_refused_folds_are_left_out(study):
    one, two = study.sections()
    assert (one.sample, two.sample) == ("s1", "s2")
    assert sorted(one.predicted) == sorted(PREDICTORS) and "part" not in two.predicted
    np.testing.assert_allclose(one.truth, study.spots["s1"].on_scale("log_share", GENES))
    np.testing.assert_allclose(one.predicted["good+ridge"], one.truth, atol=0.1)
    assert [one.sample for one in study.sections(largest=True)] == ["s1"]


def test_the_genes_that_are_drawn_are_those_that_predictors_say_best(study):
    rng = np.random.default_rng(0)
    truth = rng.normal(size=(200, 5))
    noise = np.array([9.0, 0.1, 3.0, 0.3, 1.0])
    said = {name: truth + noise * rng.normal(size=truth.shape) for name in "ab"}
    section = Section(0, "s", [*"vwxyz"], [], np.zeros((200, 2)), truth, said)
    assert spatial.choose(section, []) == ["w", "y", "z"]
    assert spatial.choose(section, ["x", "q"]) == ["x"]


def test_panels_say_the_correlation_of_what_they_show(study, tmp_path, monkeypatch):
    figures = []
    monkeypatch.setattr(spatial, "save", lambda figure, path: figures.append(figure))
    section = study.sections(largest=True)[0]
    spatial.draw(section, Order(["fair", "flat"], frozenset(["fair", "flat"])), ["G03"], tmp_path / "x.png")
    titles = [axes.get_title() for axes in figures[0].axes]
    expected = np.corrcoef(section.truth[:, 3], section.predicted["fair"][:, 3])[0, 1]
    assert titles == ["measured", f"fair\nr {expected:.2f}", "flat\nundefined"]


def test_a_violin_has_the_median_of_its_values_and_undefined_ones_are_counted(tmp_path, monkeypatch):
    figures = []
    monkeypatch.setattr(violins, "save", lambda figure, path: figures.append(figure))
    values = {"a": [*np.linspace(0, 1, 39), math.nan], "b": [math.nan] * 40}
    table = FRAME(
        [
            {"predictor": name, "gene": f"g{row}", "metric": "pearson", "value": value, "fold": 0, "sample_id": "s"}
            for name, own in values.items()
            for row, value in enumerate(own)
        ]
    )
    violins.draw(table, Order(["a", "b", "c"], frozenset("ab")), ["pearson"], tmp_path / "x.png")
    (axes,) = figures[0].axes
    dots = [line for line in axes.lines if line.get_marker() == "o"]
    assert [dot.get_xydata().tolist() for dot in dots] == [[[0.5, 0]]]
    texts = [text.get_text() for text in axes.texts]
    assert "undefined for every gene" in texts and "not scored" in texts


# --- clusters -------------------------------------------------------------------------------------


def rand_index(one, other):
    """Hubert and Arabie's index from pairs, counted one by one."""
    pairs = list(itertools.combinations(range(len(one)), 2))
    first = np.array([one[a] == one[b] for a, b in pairs])
    second = np.array([other[a] == other[b] for a, b in pairs])
    expected = first.sum() * second.sum() / len(pairs)
    return ((first & second).sum() - expected) / ((first.sum() + second.sum()) / 2 - expected)


def test_planted_regions_are_found_and_the_index_is_that_of_counted_pairs(study):
    one = clusters.clustered(study.sections()[0], None, 1)
    assert one.against == "clusters of the truth"
    assert rand_index(one.reference, study.region["s1"]) == pytest.approx(1)
    found = one.agreement()
    assert found["good+ridge"] == pytest.approx(1)
    assert found["flat"] == 0
    assert 0 < found["fair"] < 1
    for name in ("fair", "part"):
        assert found[name] == pytest.approx(rand_index(one.reference, one.found[name]))


def test_labels_take_the_place_of_clusters_and_only_spots_with_one_are_compared(study):
    region = study.region["s2"]
    labels = {f"s2x{row}": "ab"[int(region[row] > 1)] for row in range(60) if row % 3}
    one = clusters.clustered(study.sections()[1], labels, 1)
    assert (one.against, one.names, len(one.section.spots)) == ("labels", ["a", "b"], 40)
    assert one.reference.tolist() == [int(region[row] > 1) for row in range(60) if row % 3]
    assert set(one.found) == {"measured", "good+ridge", "fair", "flat"}
    assert clusters.clustered(study.sections()[1], {"s2x0": "a", "s2x1": "b"}, 1) is None


def test_clusters_take_the_numbers_of_the_parts_they_share_most_spots_with():
    reference = np.array([0, 0, 0, 1, 1, 1, 2, 2, 2])
    for order in itertools.permutations(range(3)):
        codes = np.array(order)[reference]
        assert clusters.matched(codes, reference).tolist() == reference.tolist()
    assert clusters.matched(np.zeros(9, int), np.array([1] * 9)).tolist() == [1] * 9


@pytest.mark.parametrize(
    ("text", "why"), [("spot,part\na,1\n", "no columns spot and label"), ("spot,label\na,1\na,2\n", ":3: spot a has")]
)
def test_tables_of_labels_that_are_none_are_refused(text, why, tmp_path):
    (tmp_path / "labels.csv").write_text(text)
    with pytest.raises(Refusal, match=why):
        clusters.read_labels(tmp_path / "labels.csv")
    (tmp_path / "labels.csv").write_text("spot,label\na,1\nb,\n")
    assert clusters.read_labels(tmp_path / "labels.csv") == {"a": "1"}


def test_files_of_labels_are_those_that_are_there(tmp_path):
    (tmp_path / "s1.csv").write_text("spot,label\n")
    assert labels_of(f"{tmp_path}/{{sample}}.csv", ["s1", "s2"]) == {"s1": f"{tmp_path}/s1.csv"}
    assert labels_of("", ["s1"]) == {}


# --- all of it ------------------------------------------------------------------------------------


def test_the_pictures_of_a_task_are_the_same_bytes_again_with_labels_and_without(study, ranks, tmp_path):
    (tmp_path / "s1.csv").write_text(
        "spot,label\n" + "".join(f"s1x{row},r{part}\n" for row, part in enumerate(study.region["s1"]))
    )
    made = {}
    for name, labels in (("one", {}), ("two", {}), ("labelled", {"s1": str(tmp_path / "s1.csv")})):
        out = tmp_path / name
        files = ("ranking.png", "violins.png", "spatial.png", "clusters.png", "clusters.csv")
        options = ("--ranking", "--violins", "--spatial", "--clusters", "--clusters-table")
        arguments = [str(part) for pair in zip(options, (out / file for file in files), strict=True) for part in pair]
        arguments += ["--ranks", ranks, "--scores", study.folder / "scores.parquet", "--protocol", "strict"]
        arguments += ["--splits", study.folder / "splits.json", "--targets", study.folder / "targets.h5"]
        arguments += ["--predictions", *study.paths, "--metrics", *METRICS, "--labels", json.dumps(labels)]
        draw_methods.stage.run(draw_methods.work, [*map(str, arguments), "--seed", "1"])
        made[name] = {file: (out / file).read_bytes() for file in files}
    assert made["one"] == made["two"]
    assert made["one"]["clusters.png"] != made["labelled"]["clusters.png"]
    rows = list(csv.DictReader(made["labelled"]["clusters.csv"].decode().splitlines()))
    assert {row["sample_id"] for row in rows} == {"s1"} and {row["against"] for row in rows} == {"labels"}
    said = {row["predictor"]: float(row["ari"]) for row in rows}
    assert said["measured"] == said["good+ridge"] == 1
    rows = list(csv.DictReader(made["one"]["clusters.csv"].decode().splitlines()))
    assert sorted((row["sample_id"], row["predictor"]) for row in rows) == sorted(
        [("s1", name) for name in PREDICTORS] + [("s2", name) for name in PREDICTORS if name != "part"]
    )
