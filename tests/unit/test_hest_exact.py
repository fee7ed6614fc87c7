"""`hest_exact` against HEST-Library's own numbers, and against its recipe written out with scikit-learn."""

import json
import os
import subprocess
import sys
from pathlib import Path

import hest_oracle
import numpy as np
import pytest
from sklearn.decomposition import PCA
from sklearn.linear_model import Ridge
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits

from spotweave import probes, protocols
from spotweave.probes import Training

ROOT = Path(__file__).resolve().parents[2]
CPU = Path("/proc/cpuinfo")
THERE = hest_oracle.ORACLE.is_dir()
with_oracle = pytest.mark.skipif(not THERE, reason=f"HEST-Library's scores are not here: {hest_oracle.ORACLE}")
with_its_kernels = pytest.mark.skipif(
    not CPU.is_file() or "avx512f" not in CPU.read_text(),
    reason="HEST-Library's scores were made with AVX-512 kernels, which this processor does not have",
)


def difference(found):
    """Largest difference to HEST-Library of a gene, and of a mean over genes."""
    genes = np.load(hest_oracle.ORACLE / "her2st_handcrafted.npz")["genes"].tolist()
    by_gene, of_mean = [], []
    for name, folds in hest_oracle.published().items():
        for fold, expected in folds.items():
            mine = np.array(found[name][fold])
            by_gene.append(np.abs(mine - [expected["pearson"][gene] for gene in genes]).max())
            of_mean.append(abs(mine.mean() - expected["pearson_mean"]))
    assert len(by_gene) == 4, "two sets of embeddings, two folds"
    return max(by_gene), max(of_mean)


@with_oracle
@with_its_kernels
@pytest.mark.parametrize("threads", ["1", "4"])
def test_scores_are_those_of_hest_library_whatever_the_number_of_threads(threads):
    """In a process of its own: the kernels are chosen when the linear algebra is loaded."""
    environment = {**os.environ, "OPENBLAS_CORETYPE": "SkylakeX", "OMP_NUM_THREADS": threads}
    environment |= {"OPENBLAS_NUM_THREADS": threads, "PYTHONPATH": f"{ROOT}/workflow"}
    command = [sys.executable, str(ROOT / "tests/hest_oracle.py")]
    printed = subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stdout
    gene, mean = difference(json.loads(printed))
    assert gene <= 1e-12
    assert mean <= 1e-12


@with_oracle
def test_other_kernels_move_single_genes_and_hardly_the_mean():
    """An unconverged solver amplifies the rounding of the decomposition: this is how far (docs/benchmark.md)."""
    gene, mean = difference(hest_oracle.scores())
    assert gene < 0.03
    assert mean < 0.002


def collinear(seed, spots, dimensions, genes=6):
    """Features of very unequal strength, some of them nearly sums of others: where the solver stops matters."""
    rng = np.random.default_rng(seed)
    factors = rng.normal(size=(spots, dimensions)) * np.logspace(0, -4, dimensions)
    features = (factors @ rng.normal(size=(dimensions, dimensions)) + rng.normal(size=dimensions)).astype(np.float32)
    weights = rng.normal(size=(dimensions, genes)) / np.sqrt(dimensions)
    counts = rng.poisson(np.exp(1 + 0.3 * (features - features.mean(0)) @ weights / features.std()))
    return features, np.log1p(counts.astype(np.float64))


def hest_library(train, target, test, *, single_until_the_end=False, kept=256, seed=1):
    """The recipe: scaler and PCA in one pipeline, tensors of single precision that become double, ridge by lsqr."""
    pipe = Pipeline([("scaler", StandardScaler()), ("PCA", PCA(min(kept, *train.shape), random_state=seed))])
    with threadpool_limits(2, user_api="blas"):
        x_train, x_test = pipe.fit_transform(train), pipe.transform(test)
    assert x_train.dtype == x_test.dtype == np.float32
    if not single_until_the_end:
        x_train, x_test = x_train.astype(np.float64), x_test.astype(np.float64)
    alpha = 100 / (x_train.shape[1] * target.shape[1])
    ridge = Ridge(solver="lsqr", alpha=alpha, random_state=seed, fit_intercept=False, max_iter=1000)
    return ridge.fit(x_train, target).predict(x_test)


# Few dimensions; more than are kept; so many that scikit-learn decomposes at random.
@pytest.mark.parametrize(("spots", "dimensions"), [(200, 40), (420, 320), (560, 520)])
def test_predictions_are_those_of_the_recipe(spots, dimensions):
    features, target = collinear(dimensions, spots, dimensions)
    train, test = features[:-20], features[-20:]
    nothing = np.zeros(len(train), dtype=np.int64)
    training = Training(train, target[:-20], nothing, nothing)
    found = probes.load("ridge").fit(training, protocols.load("hest_exact").fit, seed=1).predict(test)
    expected = hest_library(train, target[:-20], test)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-12)
    # The fixture tells: single precision to the end is another number.
    wrong = hest_library(train, target[:-20], test, single_until_the_end=True)
    assert np.abs(wrong - expected).max() > 1e-7
    if dimensions > 500:
        other = hest_library(train, target[:-20], test, seed=2)
        assert np.abs(other - expected).max() > 1e-7, "the random decomposition follows the seed"
