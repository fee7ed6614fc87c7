"""Expression as a network learns it, and back.

A gene that is the same in all training spots is known without learning: whatever the network says of it, that value is
predicted. It takes no part in any loss, where its variance would be divided by.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spotweave.spots import TrainingSample

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Scaling:
    """Per gene, (G,) float64: learned is (expression - `shift`) / `scale`; `scale` is 0 for a constant gene."""

    shift: Array
    scale: Array

    @classmethod
    def of(cls, samples: Sequence[TrainingSample], *, standardise: bool) -> Scaling:
        """Measured on training spots.

        Parameters
        ----------
        standardise
            Whether genes are learned with mean 0 and variance 1, or as they are.
        """
        expression = np.concatenate([known.expression for known in samples])
        mean, spread = expression.mean(axis=0), expression.std(axis=0)
        constant = np.ptp(expression, axis=0) == 0
        if standardise:
            return cls(np.where(constant, expression[0], mean), np.where(constant, 0.0, spread))
        return cls(np.where(constant, expression[0], 0.0), np.where(constant, 0.0, 1.0))

    @property
    def varies(self) -> NDArray[np.bool_]:
        """(G,) which genes are learned."""
        found: NDArray[np.bool_] = self.scale > 0
        return found

    def learned(self, expression: Array) -> NDArray[np.float32]:
        """(N, G) float32 as a network learns them; 0 for a constant gene."""
        safe = np.where(self.varies, self.scale, 1.0)
        return np.where(self.varies, (expression - self.shift) / safe, 0.0).astype(np.float32)

    def predicted(self, learned: NDArray[Any]) -> Array:
        """(N, G) float64 expression of what a network says."""
        return self.shift + self.scale * np.asarray(learned, dtype=np.float64)
