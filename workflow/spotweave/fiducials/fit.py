"""The fiducial frame laid onto a picture: from found corners to a fit on single dots, measured or refused.

1. Every two detections of different shapes give a similarity for each size of capture area, seen from the front and
   from behind; those that further detections agree with are refitted to all of them.
2. Each is held against the dots: at how many places of the frame is one? The best are refined on the dots by least
   squares, in steps of ever smaller reach, far-off dots left out.
3. The best of the refined fits wins, whatever its capture area and orientation, and is compared with what the same
   frame would explain turned, mirrored or moved by a dot or two: the margin says how sure the orientation is.
4. Dots left out of the fit, whole quarters left out, and the spread of the residuals say how good it is.

Steps 1 to 3 are those of `fiducials.poses`, step 4 that of `fiducials.measures`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from spotweave.fiducials.detection import Detection
from spotweave.fiducials.dots import Evidence
from spotweave.fiducials.measures import FrameFit, measure
from spotweave.fiducials.poses import Pose, climb, coarse_scores, distinct, hypotheses, refine
from spotweave.fiducials.printing import TABLE
from spotweave.visium.array import NAMES, capture_area

REFINED = 10  # hypotheses that are refined


def locate(
    picture: NDArray[np.uint8],
    detections: Sequence[Detection],
    *,
    areas: Iterable[str] = NAMES,
    printing: Path | None = TABLE,
) -> FrameFit | None:
    """Lay the frame onto a picture.

    Parameters
    ----------
    picture
        (H, W, 3) uint8 RGB; 3 to 20 um per px.
    detections
        Corner shapes, true and false ones.
    areas
        Sizes of capture area that are possible.
    printing
        Table of the dots' printed places; None to expect them on their lattice.

    Returns
    -------
    FrameFit or None
        None where no two detections go together or too few dots are found. A fit is not yet a good one: `refusals`.
    """
    evidence = Evidence(picture)
    scored = []
    for area in map(capture_area, areas):
        poses = hypotheses(area, detections)
        scores = coarse_scores(evidence, area, poses)
        scored += [replace(pose, score=score) for pose, score in zip(poses, scores, strict=True)]
    coarse = sorted(scored, key=lambda pose: -pose.score)
    refined = [pose for pose in (refine(evidence, pose) for pose in distinct(coarse, REFINED)) if pose]
    if not refined:
        return None
    return measure(evidence, climb(evidence, max(refined, key=lambda pose: pose.score)), printing)


def relocate(picture: NDArray[np.uint8], earlier: FrameFit, *, printing: Path | None = TABLE) -> FrameFit | None:
    """Repeat a fit on another picture of the same section, from `earlier` in its px; None if too few dots are found."""
    evidence = Evidence(picture)
    area = capture_area(earlier.area)
    pose = refine(evidence, Pose(area, earlier.matrix, 0.0, earlier.corners_matrix, earlier.corners_used))
    return measure(evidence, pose, printing) if pose else None
