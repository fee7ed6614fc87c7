"""The measures of `nuclei_morphology`."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from spotweave.nuclei.methods.classical import measure_stain, segment
from spotweave.nuclei.morphology import FEATURES, of_labels

Array = NDArray[np.float64]
# Of each feature over the nuclei of a patch: its middle, its spread, and its ends without the very last.
QUANTILES = (0.1, 0.5, 0.9)


class NucleiMorphology:
    """Measures of the nuclei of each patch.

    `nuclei_per_mm2`, the share of the patch that is nucleus, and of each of `morphology.FEATURES` the mean, the
    standard deviation and the quantiles .1, .5 and .9 over the nuclei that do not touch the border; 0 where there is
    none.

    Parameters
    ----------
    um_per_px
        Pixel size of the patches.
    """

    dim = 2 + len(FEATURES) * (2 + len(QUANTILES))

    def __init__(self, um_per_px: float) -> None:
        self.um_per_px = um_per_px

    def encode(self, batch: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Embed patches (B, H, W, 3) uint8 RGB, each by itself, as (B, 52) float32."""
        found = [self._measure(patch) for patch in batch]
        return np.array(found, dtype=np.float32).reshape(len(batch), self.dim)

    def _measure(self, patch: NDArray[np.uint8]) -> Array:
        labels = segment(patch, um_per_px=self.um_per_px, stain=measure_stain([patch], self.um_per_px))
        area_mm2 = labels.size * (self.um_per_px / 1000) ** 2
        measured = np.column_stack([of_labels(labels, self.um_per_px)[name] for name in FEATURES]).astype(np.float64)
        whole = measured[np.isfinite(measured).all(axis=1)]
        spread = np.zeros((2 + len(QUANTILES), len(FEATURES)))
        if len(whole):
            spread = np.vstack([whole.mean(axis=0), whole.std(axis=0), np.quantile(whole, QUANTILES, axis=0)])
        return np.concatenate([[labels.max(initial=0) / area_mm2, (labels > 0).mean()], spread.ravel()])
