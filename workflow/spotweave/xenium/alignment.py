"""The map from the H&E of a Xenium section to its DAPI picture.

Xenium Explorer and Xenium Ranger write it as a (3, 3) matrix without header, which takes a pixel (x, y, 1) of the H&E
to a pixel of DAPI; Explorer 2 and later also save the pairs of points it was made of (`fixedX`, `fixedY` in DAPI,
`alignmentX`, `alignmentY` in the H&E).
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spotweave.deposits.opening import parses, read_bytes
from spotweave.deposits.raw import RawFile
from spotweave.errors import Refusal
from spotweave.geometry import Points, apply, fit_affine

KEYPOINTS = ("alignmentX", "alignmentY", "fixedX", "fixedY")
# Pairs set by hand agree to some um; half the diameter of a spot, 27.5 um of 0.2125 um px, is beyond any care.
MAX_KEYPOINT_RMS_PX = 129.4
MAX_ANISOTROPY = 0.10  # both pictures have square pixels: a true map stretches no direction more than another


@dataclass(frozen=True)
class HeAlignment:
    """A map from pixels of the H&E to pixels of DAPI.

    Attributes
    ----------
    matrix
        (3, 3) float64, (x, y, 1) of the H&E -> DAPI.
    kind
        `matrix` or `keypoints`.
    scale
        DAPI px per H&E px, the root of |det|.
    anisotropy
        Ratio of the singular values less 1; 0 for a similarity.
    shear_deg
        How far the images of the axes are from a right angle.
    rotation_deg
        Turn of the H&E's x axis, clockwise on screen (y is down); after the flip where mirrored.
    mirrored
        Whether the H&E shows the section from behind.
    keypoints
        Number of pairs, 0 for a matrix.
    residual_rms_px, residual_max_px
        Of the pairs after the fit, DAPI px; None for a matrix.
    """

    matrix: NDArray[np.float64]
    kind: str
    scale: float
    anisotropy: float
    shear_deg: float
    rotation_deg: float
    mirrored: bool
    keypoints: int = 0
    residual_rms_px: float | None = None
    residual_max_px: float | None = None

    def he_pixel_size_um(self, pixel_size_um: float) -> float:
        """um per px of the H&E, from that of DAPI: `pixel_size_um * sqrt(|det|)`."""
        return pixel_size_um * self.scale

    def um_to_he(self, points_um: Points, pixel_size_um: float) -> Points:
        """Positions (N, 2) of a bundle, um, as pixels of the H&E."""
        to_he = np.asarray(np.linalg.inv(self.matrix), dtype=np.float64)
        return apply(to_he, points_um / pixel_size_um)

    def he_to_um(self, points_px: Points, pixel_size_um: float) -> Points:
        """Pixels (N, 2) of the H&E as positions of a bundle, um."""
        return apply(self.matrix, points_px) * pixel_size_um

    def report(self) -> dict[str, Any]:
        """JSON-ready, the matrix left out."""
        found = {
            "alignment_kind": self.kind,
            "alignment_scale": self.scale,
            "alignment_anisotropy": self.anisotropy,
            "alignment_shear_deg": self.shear_deg,
            "alignment_rotation_deg": self.rotation_deg,
            "alignment_mirrored": self.mirrored,
        }
        if self.kind == "keypoints":
            found |= {
                "alignment_keypoints": self.keypoints,
                "alignment_residual_rms_px": self.residual_rms_px,
                "alignment_residual_max_px": self.residual_max_px,
            }
        return found


@parses
def read_he_alignment(raw: RawFile) -> HeAlignment:
    """Read an alignment.

    Raises
    ------
    Refusal
        It is neither a matrix nor a table of keypoints, its keypoints do not agree, it cannot be inverted, or stretches
        one direction over 10 % more than another.
    """
    rows = _read_rows(raw)
    header = [name.lower() for name in rows[0]] if rows else []
    if {key.lower() for key in KEYPOINTS} <= set(header):
        return _of_keypoints(raw.name, header, rows[1:])
    return _describe(raw.name, _of_matrix(raw.name, rows), kind="matrix")


def _read_rows(raw: RawFile) -> list[list[str]]:
    try:
        text = read_bytes(raw).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise Refusal(f"{raw.name}: not a table of text, or a cut one ({error}); download it again") from error
    lines = [line for line in text.splitlines() if line.strip(' ,;\t"') and not line.startswith("#")]
    if not lines:
        raise Refusal(f"{raw.name}: the file is empty; download it again")
    delimiter = max(",\t; ", key=lines[0].count)
    return [[cell.strip() for cell in row] for row in csv.reader(lines, delimiter=delimiter, skipinitialspace=True)]


def _numbers(name: str, rows: list[list[str]], first_line: int) -> NDArray[np.float64]:
    try:
        values = np.array([[float(cell) for cell in row] for row in rows], dtype=np.float64)
    except ValueError as error:
        raise Refusal(
            f"{name}: rows of numbers are needed from line {first_line} ({error}); download it again"
        ) from error
    if not np.isfinite(values).all():
        raise Refusal(f"{name}: a value is missing or infinite; download the file again")
    return values


def _of_matrix(name: str, rows: list[list[str]]) -> NDArray[np.float64]:
    if [len(row) for row in rows] != [3, 3, 3]:
        raise Refusal(
            f"{name}: neither a 3 x 3 matrix nor a table of keypoints ({', '.join(KEYPOINTS)}); it has {len(rows)}"
            f" rows, the first with {len(rows[0])} values; give the H&E image alignment file of the bundle"
        )
    matrix = _numbers(name, rows, 1)
    if not np.allclose(matrix[2], (0, 0, 1), rtol=0, atol=1e-9):
        hint = "it is transposed" if np.allclose(matrix[:, 2], (0, 0, 1), rtol=0, atol=1e-9) else "it is no affine map"
        raise Refusal(
            f"{name}: the last row of the matrix is {rows[2]}, not 0, 0, 1: {hint}; give the vendor's own file"
        )
    return matrix


def _of_keypoints(name: str, header: list[str], body: list[list[str]]) -> HeAlignment:
    if any(len(row) != len(header) for row in body):
        raise Refusal(f"{name}: rows of keypoints are of different lengths; save the keypoints again")
    at = [header.index(key.lower()) for key in KEYPOINTS]
    values = _numbers(name, [[row[i] for i in at] for row in body], 2).reshape(-1, len(KEYPOINTS))
    source, target = values[:, :2], values[:, 2:]
    try:
        matrix = fit_affine(source, target)
    except ValueError as error:
        raise Refusal(
            f"{name}: {len(values)} keypoints; {error}; set more keypoints in Xenium Explorer and save them again",
            measured=len(values),
            threshold=3,
        ) from error
    left = np.linalg.norm(target - apply(matrix, source), axis=1)
    rms = float(np.sqrt(np.mean(left**2)))
    if rms > MAX_KEYPOINT_RMS_PX:
        raise Refusal(
            f"{name}: the {len(values)} keypoints do not agree: after the fit they are {rms:.0f} px of DAPI apart (root"
            f" mean square), pair {int(left.argmax()) + 1} the most, {left.max():.0f} px; set them again in Xenium"
            " Explorer",
            measured=rms,
            threshold=MAX_KEYPOINT_RMS_PX,
        )
    return _describe(
        name,
        matrix,
        kind="keypoints",
        keypoints=len(values),
        residual_rms_px=rms,
        residual_max_px=float(left.max()),
    )


def _describe(name: str, matrix: NDArray[np.float64], **known: Any) -> HeAlignment:
    linear = matrix[:2, :2]
    largest, smallest = np.linalg.svd(linear, compute_uv=False)
    if smallest <= 1e-9 * largest or smallest == 0:
        raise Refusal(f"{name}: the map cannot be inverted (determinant {np.linalg.det(linear):g}); download it again")
    anisotropy = float(largest / smallest - 1)
    if anisotropy > MAX_ANISOTROPY:
        raise Refusal(
            f"{name}: the map stretches one direction {anisotropy:.0%} more than another, though both pictures have "
            "square pixels; check the alignment in Xenium Explorer",
            measured=anisotropy,
            threshold=MAX_ANISOTROPY,
        )
    det = float(np.linalg.det(linear))
    x, y = linear[:, 0], linear[:, 1]
    angle = float(np.degrees(np.arccos(np.clip(x @ y / np.linalg.norm(x) / np.linalg.norm(y), -1, 1))))
    turned = -x if det < 0 else x
    return HeAlignment(
        matrix=matrix,
        scale=float(np.sqrt(abs(det))),
        anisotropy=anisotropy,
        shear_deg=angle - 90.0,
        rotation_deg=float(np.degrees(np.arctan2(turned[1], turned[0]))),
        mirrored=det < 0,
        **known,
    )
