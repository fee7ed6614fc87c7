"""Nothing of the test samples is seen before the score, and nothing is left to a lucky constant.

* Genes are chosen on the training samples alone (the recipe of HEST-1k, appendix C.3).
* The target is ln(1 + 10^4 x share of the spot's counts): depth of sequencing is not predicted.
* The penalty is chosen by cross-validation within the training samples (donors held out where there are two, else
  samples, else blocks of a sample), over 19 values from 10^-2 to 10^7; scaler and PCA are fitted anew each time.
* Pearson correlation within each test sample, then averaged: pooled spots of several samples would reward the
  difference between samples.
* Samples of fewer than ten test spots are not scored, and listed.
"""

from spotweave.probes import Choices
from spotweave.protocols import PENALTIES, Protocol

PROTOCOL = Protocol(
    genes_from="train",
    target="log_share",
    score_over="sample",
    min_spots=10,
    permutations=50,
    fit=Choices(
        max_components=256,
        features_dtype="float64",
        fit_intercept=True,
        alpha_rule="cross-validated",
        alpha_grid=PENALTIES,
    ),
)
