"""HEST-Benchmark as its code does it, for scores that can be laid beside the published ones.

Source: HEST-1k (Jaume et al., NeurIPS 2024), section 5 and appendix C.3, and HEST-Library 1.1.1
(`hest/bench/benchmark.py`, `hest/bench/trainer.py`, `hest/bench/st_dataset.py`, `get_k_genes` of `hest/utils.py`).
Where text and code differ, the code is followed:

* genes are chosen on all samples of the task, the test samples included (a leak);
* the target is log1p of raw counts, without a library-size factor (the text says normalised);
* features are standardised and reduced in float32 and the components handed to the regression as float64, the target
  is float64 (a torch tensor of single precision is not known to scikit-learn, which makes it double);
* the penalty is 100 / (components x genes), without an intercept, and `lsqr` stops unconverged at a tolerance of 1e-4;
* samples follow each other in the order of the split, which moves the result as the types do: here they are sorted;
* Pearson correlation over the pooled test spots of a fold.

Two differences, both where HEST-Library has no number to compare with: a gene whose correlation is undefined is
counted and left out of the mean (there it turns the mean of the fold into NaN), and the principal components are
limited to min(256, dimensions, spots - 1) (there fewer dimensions or spots are an error).
"""

from spotweave.probes import Choices
from spotweave.protocols import Protocol

PROTOCOL = Protocol(
    genes_from="all",
    target="log1p",
    score_over="pooled",
    min_spots=2,
    permutations=50,
    fit=Choices(
        max_components=256,
        features_dtype="float32",
        fit_intercept=False,
        alpha_rule="100/(components*genes)",
    ),
)
