"""Ridge on all dimensions of the standardised embedding: the probe of table A13 of HEST-1k, without components.

Its penalty is 100 / (dimensions x genes) under `hest_exact`, so that long embeddings are penalised less: among
published scores it is the only probe by which larger encoders do worse. Cross-validated, it is the ridge with all
components.
"""

from __future__ import annotations

from dataclasses import replace

from spotweave.probes import Choices, Probe, Training, ridge


def fit(training: Training, choices: Choices, seed: int) -> Probe:
    """Fit as `ridge`, with every component or, where the penalty is fixed, with none taken."""
    dimensions = training.features.shape[1]
    if choices.features_dtype == "float64":
        if choices.alpha_rule == "100/(components*genes)":
            from spotweave.probes.ridge.principal import fixed_alpha

            # Of all dimensions, also where there are fewer spots and so fewer components.
            alpha = fixed_alpha(dimensions, training.target.shape[1])
            choices = replace(choices, alpha_rule="given", alpha_grid=(alpha,))
        return ridge.fit(training, replace(choices, max_components=dimensions), seed)
    from spotweave.probes.ridge.fixed import fit_fixed

    return fit_fixed(training, choices, seed, reduced=False)
