"""Which genes a task asks for: a published panel from real counts, planted patterns, lists, no look at test spots."""

import csv
import gzip
from dataclasses import replace

import numpy as np
import pytest
import scipy.sparse
from benchmark_cohort import TASK, Cohort
from scipy import stats

from real_data import real
from spotweave import protocols
from spotweave.benchmark import leaks
from spotweave.benchmark.choosing import choose_genes
from spotweave.benchmark.targets import Targets
from spotweave.benchmark.tasks import Task
from spotweave.expression import gene_lists, gene_sets
from spotweave.expression.dispersion import highly_variable_genes, widely_counted_panel
from spotweave.expression.gene_lists import list_fault, list_path, read_list
from spotweave.expression.gene_sets import choose, morans_i
from spotweave.expression.genes import candidates
from spotweave.expression.place_test import _minus_log_p, joined, patterns, surprise
from spotweave.expression.samples import Expression, columns
from spotweave.expression.scales import log_share
from spotweave.plan.benchmark import task_faults
from spotweave.plan.options import listed_genes


def expression(name, counts, genes, positions=None):
    spots = [f"{name}{row}" for row in range(len(counts))]
    at = np.zeros((len(counts), 2)) if positions is None else positions
    return Expression(name, np.array(spots), np.array(genes), scipy.sparse.csr_matrix(np.asarray(counts, float)), at)


@pytest.fixture(scope="module")
def her2st():
    """Section A1, and gene -> spots counted in each of 36 sections (None: not in its table)."""
    with gzip.open(real("data/her2st/A1.tsv.gz"), "rt") as file:
        header, *rows = csv.reader(file, delimiter="\t")
    reference = expression("A1", np.array([row[1:] for row in rows], float), header[1:])
    with gzip.open(real("data/her2st/nonzero_spots_per_gene.csv.gz"), "rt") as file:
        table = {row.pop("gene"): row for row in csv.DictReader(file)}
    return reference, table


def test_the_published_panel_is_found_in_the_counts(her2st):
    reference, table = her2st
    everywhere = [gene for gene, row in table.items() if all(row.values())]
    assert len(everywhere) == 11_871

    def counted(without):
        sections = [name for name in next(iter(table.values())) if name not in without]
        return len(sections), {gene: sum(int(row[name] or 0) for name in sections) for gene, row in table.items()}

    n_sections, spots = counted({"A1", "H1", "H2", "H3"})
    assert n_sections == 32
    panel = widely_counted_panel(reference, everywhere, spots)
    assert len(panel) == 785
    assert panel == read_list(list_path("her2st_785"))
    assert {"FASN", "GNAS", "SCD", "MYL12B", "C3", "BGN"} < set(panel)
    # The steps before the last, and the same over all sections, as they were found for the published list.
    assert len(set(highly_variable_genes(reference, 1500)) & set(everywhere)) == 1_235
    assert len(widely_counted_panel(reference, everywhere, counted(())[1])) == 811
    assert set(widely_counted_panel(reference, everywhere, spots, n_top=500)) < set(panel)


def test_genes_at_the_limits_of_a_panel():
    random = np.random.default_rng(0)
    genes = [f"G{n}" for n in range(50)]
    reference = expression("r", random.poisson(3, size=(30, 50)), genes)
    variable = highly_variable_genes(reference, 20)
    spots = dict.fromkeys(variable, 7) | {variable[0]: 6}
    assert widely_counted_panel(reference, genes[::-1], spots, 20, 7) == sorted(variable[1:])
    common = [gene for gene in genes if gene != variable[1]]
    assert widely_counted_panel(reference, common, spots, 20, 6) == sorted({*variable} - {variable[1]})


def test_morans_i_is_its_formula():
    random = np.random.default_rng(3)
    at = random.uniform(size=(40, 2))
    values = np.column_stack([at[:, 0], random.normal(size=40), np.ones(40)])
    far = np.linalg.norm(at[:, None] - at[None], axis=2)
    near = np.zeros((40, 40))
    for row, order in enumerate(far.argsort(axis=1)):
        near[row, order[1:7]] = 1
    near = np.maximum(near, near.T)
    off = values - values.mean(axis=0)
    wanted = [40 / near.sum() * (near * np.outer(z, z)).sum() / (z @ z) for z in off.T[:2]]
    np.testing.assert_allclose(morans_i(values, at), [*wanted, 0], atol=1e-12)


def test_morans_i_is_scanpys_on_the_same_graph():
    from scanpy.metrics import morans_i as scanpys
    from sklearn.neighbors import kneighbors_graph

    random = np.random.default_rng(6)
    at = random.uniform(size=(60, 2))
    values = np.column_stack([at[:, 0] + random.normal(0, 0.1, 60), random.poisson(1, 60), at.prod(axis=1)])
    graph = kneighbors_graph(at, 6)
    np.testing.assert_allclose(morans_i(values, at), scanpys(graph.maximum(graph.T), values.T.copy()), atol=1e-10)


# --- patterns over a section ----------------------------------------------------------------------


def hexagonal(columns=18, rows=16):
    across, down = np.meshgrid(np.arange(columns), np.arange(rows))
    return np.column_stack([(across + down % 2 / 2).ravel(), down.ravel() * 3**0.5 / 2]) * 137.0 + 900


def test_the_test_is_chi_squared_of_least_squares_and_cauchys_combination():
    """Written out with scipy and numpy's least squares, gene by gene, as SPARK-X describes it."""
    at, random = hexagonal(), np.random.default_rng(0)
    values = random.normal(size=(len(at), 5))
    values[:, 1] += 0.0005 * at[:, 0]
    values[:, 2] += 0.45 * np.cos(at[:, 1] / 200)
    centred = at - at.mean(axis=0)
    functions = [centred]
    for share in (0.2, 0.4, 0.6, 0.8, 1.0):
        width = np.quantile(abs(centred), share, axis=0)
        functions += [np.exp(-((centred / width) ** 2) / 2), np.cos(2 * np.pi * centred / width)]
    wanted = []
    for gene in values.T:
        p_values = []
        for own in functions:
            design = np.column_stack([own, np.ones(len(at))])
            rest = gene - design @ np.linalg.lstsq(design, gene)[0]
            p_values.append(stats.chi2.sf(len(at) * (1 - rest.var() / gene.var()), 2))
        combined = np.mean(np.tan((0.5 - np.array(p_values)) * np.pi))
        wanted.append(0.5 - np.arctan(combined) / np.pi)
    found = np.exp(-surprise(values, at))
    np.testing.assert_allclose(found[[0, 3, 4]], [wanted[0], *wanted[3:]], rtol=1e-9)
    np.testing.assert_allclose(found, wanted, rtol=1e-6)  # .5 - arctan loses digits of small P
    assert 1e-9 < found[1] < 1e-3 and 1e-9 < found[2] < 1e-3


def test_cauchys_combination_of_p_values_below_any_float():
    mpmath = pytest.importorskip("mpmath")
    mpmath.mp.dps = 2000
    for given in ([900.0, 3.0, 0.2], [29.0, 28.5, 0.01], [31.0, 30.0, 4.0], [2000.0, 1999.0, 1998.0], [0.0, 0.5, 0.1]):
        p_values = [mpmath.exp(-one) for one in given]
        mean = mpmath.fsum(mpmath.cot(mpmath.pi * one) if one < 1 else -(mpmath.mpf(10) ** 15) for one in p_values) / 3
        wanted = float(-mpmath.log(mpmath.acot(mean) / mpmath.pi if mean > 0 else 1 + mpmath.acot(mean) / mpmath.pi))
        assert joined(np.array(given)[:, None])[0] == pytest.approx(wanted, rel=1e-9, abs=1e-12)


@pytest.mark.parametrize("rate", [0.3, 4.0])
def test_without_a_pattern_p_values_hold_their_level(rate):
    at = hexagonal()
    values = np.log1p(np.random.default_rng(1).poisson(rate, size=(len(at), 4000)).astype(float))
    found = np.exp(-surprise(values, at))
    for level in (0.05, 0.01):
        assert stats.binomtest(int((found < level).sum()), 4000, level).pvalue > 1e-4
    assert stats.false_discovery_control(found, method="by").min() > 0.05


def test_patterns_of_several_kinds_are_found_and_neither_shift_scale_nor_order_matters():
    at, random = hexagonal(), np.random.default_rng(2)
    centre = np.exp(-np.square((at - at.mean(axis=0)) / 400).sum(axis=1))
    across = at[:, 0] - at[:, 0].mean()
    stripes = np.cos(2 * np.pi * across / np.quantile(abs(across), 0.4))
    means = [0.5 + centre * 3, 1 + stripes, 1 + (at[:, 1] > np.median(at[:, 1])), np.ones(len(at))]
    values = np.log1p(random.poisson(np.column_stack(means)).astype(float))
    found = surprise(np.column_stack([values, np.full(len(at), 2.5)]), at)
    assert (found[:3] > 12).all() and found[3] < 4 and found[4] == 0
    order = random.permutation(len(at))
    np.testing.assert_allclose(surprise(values[order], at[order] * 0.3 - 40), found[:4], rtol=1e-9)
    line = np.column_stack([np.arange(20.0), np.zeros(20)])
    wanted = -np.log(stats.chi2.sf(20 * np.corrcoef(line[:, 0], values[:20, 0])[0, 1] ** 2, 1))
    assert patterns(line)[0].shape == (20, 1)
    assert _minus_log_p(20 * np.corrcoef(line[:, 0], values[:20, 0])[0, 1:] ** 2, 1)[0] == pytest.approx(wanted)
    assert np.isfinite(surprise(values[:20], line)).all()
    assert surprise(values[:20], np.zeros((20, 2))).tolist() == [0] * 4


def patterned(name, planted, seed, n_genes=40):
    at, random = hexagonal(12, 10), np.random.default_rng(seed)
    counts = random.poisson(20, size=(len(at), n_genes))
    steep = {gene: strength for strength, gene in enumerate(planted, start=1)}
    for gene, strength in steep.items():
        counts[:, gene] = random.poisson(20 * (1 + 0.2 * strength * (at[:, 0] > np.median(at[:, 0]))))
    return expression(name, counts, [f"G{number:02d}" for number in range(n_genes)], at)


def test_genes_with_a_pattern_in_nearly_all_samples_are_chosen_strongest_first():
    # G03 weaker than G09; G20 in five samples of seven, which are fewer than 30 of 36.
    samples = [patterned(f"s{n}", [30, 31, 3, 9] + ([20] if n < 5 else []), n) for n in range(7)]
    found = choose("svg", samples, 40, 0.1)
    assert {"G03", "G09"} <= set(found) and "G20" not in found
    assert set(found) <= {"G03", "G09", "G30", "G31"}
    assert choose("svg", samples, 1, 0.1) == ["G09"]
    assert "G20" in choose("svg", samples[:5], 40, 0.1)
    # Six of seven are more than 30 of 36.
    six = [patterned(f"s{n}", [30, 31, 3, 9] + ([20] if n < 6 else []), n) for n in range(7)]
    assert "G20" in choose("svg", six, 40, 0.1)
    few = replace(samples[0], barcodes=samples[0].barcodes[:9], counts=samples[0].counts[:9])
    few = replace(few, positions_px=samples[0].positions_px[:9])
    assert choose("svg", [few], 40, 0.1) == []
    assert choose("svg", [*samples, few], 1, 0.1) == ["G09"]


def test_a_pattern_of_depth_alone_is_none():
    at, random = hexagonal(), np.random.default_rng(5)
    depth = 1 + 2.0 * (at[:, 0] > np.median(at[:, 0]))
    share = random.uniform(0.5, 1.5, 60) * 30
    own = expression("s", random.poisson(depth[:, None] * share), [f"G{n:02d}" for n in range(60)], at)
    assert len(choose("svg", [own], 60, 0.1)) <= 2
    raw = np.exp(-surprise(own.counts.toarray(), at))
    assert (raw < 1e-6).all()  # what raw counts would have said


def test_on_a_real_section_it_agrees_with_morans_i_and_shuffled_spots_have_no_pattern():
    with gzip.open(real("data/her2st/A1.tsv.gz"), "rt") as file:
        header, *rows = csv.reader(file, delimiter="\t")
    at = np.array([[float(number) for number in row[0].split("x")] for row in rows])
    sample = expression("A1", np.array([row[1:] for row in rows], float), header[1:], at)
    found = choose("svg", [sample], 2000, 0.1)
    names = candidates([sample], 0.1)
    index = morans_i(log_share(columns(sample, names), sample.totals()).toarray(), at)
    chosen = np.isin(names, found)
    assert 0.02 < chosen.mean() < 0.9
    better = stats.mannwhitneyu(index[chosen], index[~chosen]).statistic / (chosen.sum() * (~chosen).sum())
    assert better > 0.9
    shuffled = replace(sample, positions_px=np.random.default_rng(0).permutation(at))
    assert len(choose("svg", [shuffled], 2000, 0.1)) <= 0.01 * len(found)


# --- sparse genes ---------------------------------------------------------------------------------


def test_sparse_in_both_is_the_share_of_each_side():
    names = [f"G{n}" for n in range(6)]

    def sample(name, shares):
        counts = np.column_stack([np.arange(50) < round(50 * share) for share in shares])
        return expression(name, counts, names)

    # Counted in which share of spots; sparse below .4, not at it.
    train = [sample("a", [0.38, 0.38, 0.40, 0.9, 0.2, 0.3]), sample("b", [0.38, 0.38, 0.40, 0.2, 0.2, 0.3])]
    test = [sample("c", [0.38, 0.40, 0.2, 0.1, 0.9, 0.1])]
    assert choose("sparse", train, 9, 0.1) == ["G0", "G1", "G4", "G5"]
    assert choose("sparse_both", train, 9, 0.1, tested=test) == ["G0", "G5"]
    assert choose("sparse_both", train, 1, 0.1, tested=test) == ["G0"]
    lacking = replace(test[0], genes=test[0].genes[1:], counts=test[0].counts[:, 1:])
    assert choose("sparse_both", train, 9, 0.1, tested=[lacking]) == ["G5"]


def test_a_task_of_genes_sparse_in_both_looks_at_the_test_side_and_its_leak_is_said(tmp_path):
    cohort = Cohort(tmp_path, level=-0.4)
    split = next(split for split in cohort.splits()["folds"] if "a1" in split["test"])
    before = genes_of(cohort, "sparse_both")[split["fold"]]
    train_only = genes_of(cohort, "sparse")[split["fold"]]
    assert before and set(before) < {f"G{n:02d}" for n in range(60)}
    full = before[0]
    for name in split["test"]:
        cohort.counts[name][:, int(full[1:])] = 3
        cohort.write_expression(name)
    assert full not in genes_of(cohort, "sparse_both")[split["fold"]]
    assert genes_of(cohort, "sparse")[split["fold"]] == train_only
    sight = leaks.Sight(dict.fromkeys(cohort.donor_of, "c"), {}, 112.0, {"demo": "sparse_both"})
    said = leaks.of_predictor(cohort.splits(), "strict", "", sight)
    assert said == "genes chosen for being sparse in test spots too"
    for name in ("sparse", "svg", "moran"):
        sight = replace(sight, genes={"demo": name})
        assert leaks.of_predictor(cohort.splits(), "hest_exact", "", sight) == "none found"


def test_planted_genes_are_chosen():
    random = np.random.default_rng(4)
    at = np.stack(np.meshgrid(np.arange(8.0), np.arange(7.0)), axis=-1).reshape(-1, 2)
    slope = 2 + at[:, 0]
    samples = []
    for name in "ab":
        counts = random.poisson(20, size=(56, 12))
        counts[:, 3] = random.poisson(5 * slope)  # follows the place
        counts[:, 7] = random.permutation(random.poisson(5 * slope))  # varies as much, without it
        counts[:, 9] = random.permutation(np.repeat([0, 8, 20], [45, 6, 5]))  # in 11 of 56 spots
        counts[:, 10] = random.permutation(np.repeat([0, 1], [38, 18]))  # in 18
        counts[:, 11] = random.permutation(np.repeat([0, 1], [28, 28]))  # in half of them: not sparse
        samples.append(expression(name, counts, [f"G{n:02d}" for n in range(12)], at))
    assert choose("moran", samples, 1, 0.1) == ["G03"]
    assert choose("sparse", samples, 5, 0.1) == ["G09", "G10"]
    assert choose("sparse", samples, 1, 0.1) == ["G10"]
    assert choose("sparse", samples, 5, 0.3) == ["G10"]
    assert "G09" in choose("train_hvg", samples, 2, 0.1)
    one_spot = expression("c", np.full((1, 12), 3), samples[0].genes.tolist(), at[:1])
    for name in gene_sets.CHOICES:
        assert len(choose(name, [*samples, one_spot], 3, 0.0)) <= 3
        assert choose(name, samples, 3, 1.1) == []


def test_the_genes_of_highest_mean_are_those_that_the_published_script_kept():
    with np.load(real("data/method_oracles/egn_v2_graph.npz")) as file:
        counts = [file[f"in/section{section}_counts"] for section in range(6)]
        kept = file["out/kept_gene_index"].astype(int).tolist()
    names = [f"G{number:03d}" for number in range(counts[0].shape[1])]
    samples = [expression(f"s{number}", own, names) for number, own in enumerate(counts)]
    assert choose("mean", samples, len(kept), 0.0) == [names[index] for index in kept]


def test_genes_of_equal_mean_go_by_the_name_that_sorts_last():
    counts = np.array([[1, 5, 2, 0, 2], [3, 5, 2, 0, 2]])
    sample = expression("s", counts, ["A", "B", "C", "D", "E"])
    assert choose("mean", [sample], 3, 0.0) == ["B", "C", "E"]
    assert choose("mean", [sample], 2, 0.0) == ["B", "E"]


def genes_of(cohort, genes, protocol="hest_exact", listed=()):
    path = cohort.folder / "targets.h5"
    task = replace(TASK, genes=genes)
    choose_genes(task, protocols.load(protocol), cohort.splits(), cohort.expression, path, listed)
    with Targets(path) as targets:
        return {split["fold"]: targets.fold(split["fold"]).genes for split in cohort.splits()["folds"]}


@pytest.mark.parametrize("genes", gene_sets.CHOICES)
def test_choices_look_at_training_samples_only_whatever_the_protocol(tmp_path, genes):
    cohort = Cohort(tmp_path)
    before = genes_of(cohort, genes)
    fold = next(split for split in cohort.splits()["folds"] if "a1" in split["test"])["fold"]
    random = np.random.default_rng(9)
    for name in ("a1", "a2"):
        cohort.counts[name] = random.poisson(random.uniform(0, 40, size=60), size=cohort.counts[name].shape)
        cohort.write_expression(name)
    after = genes_of(cohort, genes)
    assert after[fold] == before[fold]
    if genes not in ("sparse", "svg"):  # no gene of these samples is, or has a pattern
        assert after[1 - fold] != before[1 - fold]
        assert len(after[fold]) == TASK.n_genes
    assert genes_of(cohort, "variable")[fold] != before[fold]  # the protocol's own choice, with test samples


def test_a_list_is_taken_whole_as_far_as_the_samples_have_it(tmp_path, capfd):
    cohort = Cohort(tmp_path)
    own = tmp_path / "panel.txt"
    own.write_text("# mine\n\nG31\nG02\nNOBODY\n")
    row = {"task": "demo", "cohorts": "demo", "n_genes": "5", "genes": str(own)}
    assert task_faults("tasks.csv:2", row, {}, {"demo": ()}, ()) == []
    given = listed_genes(row)
    assert given == {"listed": ["G02", "G31", "NOBODY"]}
    assert genes_of(cohort, row["genes"], listed=given["listed"]) == {0: ["G02", "G31"], 1: ["G02", "G31"]}
    assert "1 of 3 listed genes are not in every sample: NOBODY" in capfd.readouterr().out
    assert genes_of(cohort, row["genes"], listed=["NOBODY"]) == {0: [], 1: []}
    with Targets(tmp_path / "targets.h5") as targets:
        assert targets.fold(0).reason == f"no gene of the list {own} is in every sample"


def test_a_task_without_a_word_on_genes_is_what_it_was(tmp_path):
    row = {"task": "demo", "cohorts": "demo", "n_genes": "20"}
    assert Task.from_row(row) == Task.from_row({**row, "genes": "variable"})
    assert listed_genes(row) == listed_genes({**row, "genes": "moran"}) == {}
    assert set(gene_lists.CHOICES) == set(gene_sets.CHOICES)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("A\nB\nA\n", "line 3: 'A' stands in line 1 already"),
        ("A\nB C\n", "line 2: 'B C' is not one name"),
        ("A,B\n", "line 1: 'A,B' is not one name"),
        ("# nothing\n", "holds no name"),
        (b"\xff\xfeA", "it is no text"),
        (None, "No such file"),
    ],
)
def test_a_faulty_list_is_a_fault_before_the_first_job(tmp_path, content, message):
    path = tmp_path / "panel.txt"
    if content is not None:
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    assert message in list_fault(str(path))
    assert str(path) in list_fault(str(path))


def test_an_unknown_choice_names_those_that_there_are():
    (fault,) = task_faults("t.csv:3", {"cohorts": "", "genes": "hvg"}, {}, {}, ())
    assert fault.startswith(
        "t.csv:3:genes: 'hvg' is no choice and no file; allowed: variable, train_hvg, moran, sparse"
    )
    assert "her2st_785" in fault
