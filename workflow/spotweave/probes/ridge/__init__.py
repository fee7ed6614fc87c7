"""Standardise, PCA, ridge regression: the linear probe of HEST-Benchmark, and its cross-validated form.

HEST-1k (Jaume et al. 2024, section 5 and appendix C.3) standardises the embeddings, keeps 256 principal components
and fits a ridge with the fixed penalty 100 / (components x genes): `fixed`, as HEST-Library computes it. The penalty
decides much of the score, so `"cross-validated"` chooses it within the training spots instead: `nested`, exact to
rounding. A penalty that is not chosen is fitted exactly too where features are in double: `given`. Each is loaded only
where a protocol asks for it.
"""

from __future__ import annotations

from spotweave.probes import Choices, Probe, Training


def fit(training: Training, choices: Choices, seed: int) -> Probe:
    """Fit the probe; `details` has `alpha`, `components` and, where cross-validated, the curve over the grid.

    Raises
    ------
    ValueError
        If there are fewer than two training spots, or, to cross-validate, fewer than two inner folds, features that
        are not finite, or features that are wanted in another type than float64.
    """
    if choices.alpha_rule == "cross-validated":
        from spotweave.probes.ridge.nested import fit_cross_validated

        return fit_cross_validated(training, choices)
    if choices.features_dtype == "float64":
        from spotweave.probes.ridge.given import fit_given

        return fit_given(training, choices)
    from spotweave.probes.ridge.fixed import fit_fixed

    return fit_fixed(training, choices, seed)
