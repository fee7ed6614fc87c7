"""Where the dots of 6.5 mm frames are printed, measured on pictures of whole frames."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from spotweave.fiducials.detector import Detector
from spotweave.fiducials.find import find
from spotweave.fiducials.printing import average, residuals_of, to_table
from spotweave.io import atomic
from spotweave.pictures.header import read_header


def measure_print(pictures: Iterable[Path], weights: Path, table: Path) -> Iterator[str]:
    """Fit each picture's frame on the ideal lattice and write the mean of what its dots are off it (.csv).

    Parameters
    ----------
    weights
        Of the corner detector.

    Yields
    ------
    A line of each picture: what was measured, or why it is left out.

    Raises
    ------
    ValueError
        No picture has a whole frame: nothing is written.
    Refusal
        A picture cannot be read.
    """
    detector = Detector(weights)
    residuals, letters = [], []
    for path in pictures:
        header = read_header(path)
        found = find(path, (header.width_px, header.height_px), detector, areas=("6.5 mm",), printing=None)
        if found.fit is None or found.complaints:
            yield f"{path}: left out, {found.complaints[0].reason}"
            continue
        yield f"{path}: area {found.fit.letter}, {found.fit.dots_matched} dots, {found.fit.residual_median_um:.1f} um"
        residuals.append(residuals_of(found.fit.dots_um, found.fit.residual_um))
        letters.append(found.fit.letter or "")
    if not residuals:
        raise ValueError("no picture with a whole frame: nothing written")
    with atomic(table) as part:
        to_table(average(residuals, letters)).to_csv(part, index=False, lineterminator="\n")
