"""Kinds of nuclei and of tissue: the ranges that a scene's numbers are drawn from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from spotweave.simulate.nuclei_scenes.noise import Rng, log_uniform

Range = tuple[float, float]


@dataclass(frozen=True)
class Kind:
    """Nuclei of a kind.

    Attributes
    ----------
    semi_minor_um
        Half of the width.
    elongation
        Length as a multiple of the width.
    darkness
        Concentration of haematoxylin at the rim.
    inside
        Concentration of the inside as a share of the rim's: vesicular nuclei are pale within.
    chromatin
        Standard deviation of the concentration within, as a share of the rim's.
    nucleoli
        Mean number (Poisson).
    bend, wobble
        Standard deviations of how far the axis is bent and of waves of the outline, as shares of the half width.
    """

    semi_minor_um: Range
    elongation: Range
    darkness: Range
    inside: Range
    chromatin: Range
    nucleoli: float
    bend: float
    wobble: float


KINDS: Mapping[str, Kind] = {
    "lymphocyte": Kind((2.2, 3.6), (1.0, 1.25), (1.0, 1.9), (0.8, 1.0), (0.08, 0.25), 0.1, 0.0, 0.03),
    "vesicular": Kind((3.0, 6.0), (1.0, 1.8), (0.5, 1.2), (0.45, 0.95), (0.1, 0.35), 1.6, 0.1, 0.05),
    "glial": Kind((2.4, 4.6), (1.0, 2.2), (0.7, 1.7), (0.75, 1.0), (0.08, 0.25), 0.3, 0.15, 0.07),
    "spindle": Kind((1.0, 2.2), (2.2, 5.5), (0.6, 1.5), (0.75, 1.0), (0.05, 0.25), 0.1, 0.5, 0.05),
    "pyknotic": Kind((1.4, 2.6), (1.0, 1.6), (1.4, 2.3), (0.95, 1.0), (0.02, 0.1), 0.0, 0.1, 0.08),
    "columnar": Kind((2.0, 3.4), (1.5, 3.0), (0.7, 1.5), (0.65, 1.0), (0.1, 0.3), 0.6, 0.1, 0.05),
    "giant": Kind((5.0, 8.5), (1.0, 1.8), (0.6, 1.5), (0.6, 1.0), (0.1, 0.35), 1.5, 0.2, 0.09),
}


@dataclass(frozen=True)
class Region:
    """Tissue of a kind.

    Attributes
    ----------
    chance
        How often a region is of this kind.
    mix
        Share of each kind among the nuclei.
    nuclei_per_1000_um2
        Nuclei aimed at.
    eosin, haematoxylin
        Concentrations between the nuclei.
    fibres, cells
        Contrast of fibres, and of a cell to its neighbours, as shares of the concentration.
    apart
        Share of a nucleus' axes within which there is no other: less, and more overlap.
    """

    chance: float
    mix: Mapping[str, float]
    nuclei_per_1000_um2: Range
    eosin: Range
    haematoxylin: Range
    fibres: Range
    cells: Range
    apart: Range


REGIONS: Mapping[str, Region] = {
    "lymphoid": Region(
        0.2,
        {"lymphocyte": 0.85, "vesicular": 0.08, "glial": 0.05, "pyknotic": 0.02},
        nuclei_per_1000_um2=(3, 14),
        eosin=(0.15, 0.6),
        haematoxylin=(0.0, 0.35),
        fibres=(0, 0.15),
        cells=(0, 0.15),
        apart=(0.7, 1.0),
    ),
    "tumour": Region(
        0.3,
        {"vesicular": 0.72, "giant": 0.06, "glial": 0.08, "lymphocyte": 0.08, "pyknotic": 0.06},
        nuclei_per_1000_um2=(2, 6.5),
        eosin=(0.25, 0.8),
        haematoxylin=(0.1, 0.75),
        fibres=(0, 0.2),
        cells=(0.05, 0.4),
        apart=(0.75, 1.0),
    ),
    "stroma": Region(
        0.2,
        {"spindle": 0.72, "lymphocyte": 0.1, "glial": 0.1, "vesicular": 0.05, "pyknotic": 0.03},
        nuclei_per_1000_um2=(0.8, 4),
        eosin=(0.4, 1.1),
        haematoxylin=(0.0, 0.4),
        fibres=(0.15, 0.5),
        cells=(0, 0.1),
        apart=(0.7, 1.0),
    ),
    "brain": Region(
        0.15,
        {"glial": 0.75, "vesicular": 0.12, "lymphocyte": 0.06, "spindle": 0.05, "pyknotic": 0.02},
        nuclei_per_1000_um2=(1, 6),
        eosin=(0.3, 0.9),
        haematoxylin=(0.05, 0.5),
        fibres=(0, 0.3),
        cells=(0, 0.1),
        apart=(0.7, 1.0),
    ),
    "gland": Region(
        0.1,
        {"columnar": 0.85, "lymphocyte": 0.08, "pyknotic": 0.05, "giant": 0.02},
        nuclei_per_1000_um2=(2.5, 7),
        eosin=(0.3, 0.8),
        haematoxylin=(0.05, 0.6),
        fibres=(0, 0.1),
        cells=(0.05, 0.3),
        apart=(0.65, 0.95),
    ),
    "ground": Region(
        0.05,
        {"glial": 0.6, "spindle": 0.2, "pyknotic": 0.2},
        nuclei_per_1000_um2=(0.1, 1),
        eosin=(0.3, 1.2),
        haematoxylin=(0.0, 0.5),
        fibres=(0, 0.5),
        cells=(0, 0.3),
        apart=(0.9, 1.0),
    ),
}


@dataclass(frozen=True)
class Tissue:
    """One region of one scene: numbers drawn from the ranges of `Region` and `Kind`, and some of every region.

    Attributes
    ----------
    fine, coarse, medium
        Standard deviations of noise of three scales, as shares of the concentration.
    out_of_focus
        How many nuclei are faint: a third of this is their share.
    size, darkness, inside, chromatin
        By kind of nucleus: factors of the axes and of the concentration; `Kind.inside` and `Kind.chromatin`, drawn.
    halo
        How much paler it is around some nuclei; numpy's float64.
    """

    mix: Mapping[str, float]
    nuclei_per_1000_um2: float
    eosin: float
    haematoxylin: float
    fibres: float
    cells: float
    apart: float
    fine: float
    coarse: float
    medium: float
    out_of_focus: float
    size: Mapping[str, float]
    darkness: Mapping[str, float]
    inside: Mapping[str, float]
    chromatin: Mapping[str, float]
    halo: float


def draw_tissue(rng: Rng, region: Region) -> Tissue:
    """The numbers of one region of a scene."""
    return Tissue(
        mix=region.mix,
        nuclei_per_1000_um2=rng.uniform(*region.nuclei_per_1000_um2),
        eosin=rng.uniform(*region.eosin),
        haematoxylin=rng.uniform(*region.haematoxylin),
        fibres=rng.uniform(*region.fibres),
        cells=rng.uniform(*region.cells),
        apart=rng.uniform(*region.apart),
        fine=rng.uniform(0, 0.22),
        coarse=rng.uniform(0, 0.3),
        medium=rng.uniform(0, 0.25),
        out_of_focus=rng.uniform(0.05, 0.3),
        size={name: log_uniform(rng, 0.85, 1.18) for name in KINDS},
        darkness={name: log_uniform(rng, 0.8, 1.25) for name in KINDS},
        inside={name: rng.uniform(*kind.inside) for name, kind in KINDS.items()},
        chromatin={name: rng.uniform(*kind.chromatin) for name, kind in KINDS.items()},
        halo=rng.choice([0, 0, rng.uniform(0.2, 1)]),
    )
