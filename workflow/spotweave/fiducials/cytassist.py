"""Frames of CytAssist slides: they are in the instrument's picture only, and the H&E is registered to that.

Loupe writes the registration as a map from the H&E to the instrument's picture; the frame's map is carried back
through its inverse.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from spotweave.errors import Refusal

FLAT = 1e-9  # how much the last row of an affine map may differ from 0, 0, 1


def to_slide(frame: NDArray[np.float64], to_instrument: NDArray[np.float64]) -> NDArray[np.float64]:
    """(3, 3) array um -> px of the H&E, from array um -> px of the instrument's picture and H&E px -> instrument px.

    Raises
    ------
    Refusal
        The registration is no affine map, or flattens the picture.
    """
    to_instrument = to_instrument / to_instrument[2, 2]
    if np.abs(to_instrument[2, :2]).max() > FLAT:
        raise Refusal("the CytAssist registration in the Loupe file is no affine map; save it in Loupe again")
    if abs(np.linalg.det(to_instrument[:2, :2])) < FLAT:
        raise Refusal("the CytAssist registration in the Loupe file has no inverse; save it in Loupe again")
    matrix = np.linalg.inv(to_instrument) @ frame
    return np.asarray(matrix / matrix[2, 2])
