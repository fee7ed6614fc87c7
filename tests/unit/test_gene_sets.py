"""Which genes a task asks for: a published panel from real counts, planted patterns, lists, no look at test spots."""

import csv
import gzip
from dataclasses import replace

import numpy as np
import pytest
import scipy.sparse
from benchmark_cohort import TASK, Cohort

from real_data import real
from spotweave import protocols
from spotweave.benchmark.choosing import choose_genes
from spotweave.benchmark.targets import Targets
from spotweave.benchmark.tasks import Task
from spotweave.expression import gene_lists, gene_sets
from spotweave.expression.dispersion import highly_variable_genes, widely_counted_panel
from spotweave.expression.gene_lists import list_fault, list_path, read_list
from spotweave.expression.gene_sets import choose, morans_i
from spotweave.expression.samples import Expression
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
    if genes != "sparse":  # no gene of these samples is
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
