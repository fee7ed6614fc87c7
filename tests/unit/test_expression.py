"""Expression of samples: scales, which genes are chosen, and under which names those of several samples meet."""

import numpy as np
import pytest
from benchmark_cohort import Cohort

from spotweave.benchmark.choosing import spots_of
from spotweave.expression.gene_names import meeting_names
from spotweave.expression.genes import candidates, most_variable_genes
from spotweave.expression.samples import read_expression


@pytest.fixture
def cohort(tmp_path):
    return Cohort(tmp_path)


def test_the_strict_target_is_a_share_of_all_genes_and_an_empty_spot_is_zero(cohort):
    cohort.counts["a1"][3] = 0
    cohort.write_expression("a1")
    spots = spots_of(read_expression(cohort.expression["a1"], "a1"), ["G01", "G05", "none"])
    target = spots.on_scale("log_share", ["G05", "none", "G01"])
    counts = cohort.counts["a1"].astype(float)
    totals = counts.sum(1)
    totals[3] = 1
    np.testing.assert_allclose(target[:, 0], np.log1p(1e4 * counts[:, 5] / totals))
    np.testing.assert_allclose(target[:, 2], np.log1p(1e4 * counts[:, 1] / totals))
    assert np.isnan(target[:, 1]).all()
    assert target[3, 0] == 0
    np.testing.assert_allclose(spots.on_scale("log1p", ["G01"])[:, 0], np.log1p(counts[:, 1]))


def test_candidates_are_counted_in_a_tenth_of_the_spots_of_every_sample(cohort):
    cohort.counts["a1"][:, 0] = 0
    cohort.counts["a1"][:5, 0] = 1  # 10 % of 50: enough
    cohort.counts["a2"][:, 1] = 0
    cohort.counts["a2"][:4, 1] = 9
    names = cohort.genes()
    names[2], names[3] = "BLANK_1", "NegControlProbe_2"
    samples = []
    for name in ("a1", "a2"):
        cohort.write_expression(name, genes=names)
        samples.append(read_expression(cohort.expression[name], name))
    found = candidates(samples, 0.1)
    assert "G00" in found
    assert set(names) - set(found) == {"G01", "BLANK_1", "NegControlProbe_2"}
    assert most_variable_genes(samples, 100, 0.1) == found


def test_names_of_most_samples_are_shown_and_stay_unique():
    names = [["A", "B", "C"], ["A", "B", "C"], ["ENSG00000000001", "B-1", "A"]]
    ids = [["ENSG00000000001", "ENSG00000000002", ""]] * 2 + [["ENSG00000000001", "ENSG00000000002", ""]]
    met = meeting_names(names, ids)
    assert met[:2] == names[:2]
    assert met[2] == ["ENSG00000000001", "B", "A"]  # another gene, without an id, is called A there already
    met = meeting_names([["T", "T-1", "T-2"], ["V", "U"]], [["E1", "E1", "E1"], ["E1", "E2"]])
    assert [len(set(of_sample)) for of_sample in met] == [3, 2]
    assert met[1] == ["T", "U"]


def test_gene_lists_of_one_sample_are_sorted_like_those_of_several(tmp_path):
    cohort = Cohort(tmp_path)
    turned = cohort.genes()[::-1]
    cohort.write_expression("a1", genes=turned)
    sample = read_expression(cohort.expression["a1"], "a1")
    assert candidates([sample], 0.1) == sorted(candidates([sample], 0.1))
    assert most_variable_genes([sample], 20, 0.1) == sorted(most_variable_genes([sample], 20, 0.1))
    assert len(most_variable_genes([sample], 20, 0.1)) == 20
