"""Simulated counts: genes of four domains, of nuclei, of every cell, of none, and chance hits, as negative binomials.

The panel is one and the same for every sample, so that what is learned on one donor can hold for another; donors differ
by a factor a gene.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from spotweave.simulate.tissue import FAT, IMMUNE, STROMA, TUMOUR, Floats

PANEL_SEED = 20160701
NUCLEI_PER_UNIT = 40.0  # nuclei under a spot at which a nucleus gene reaches its weight
DONOR_SPREAD = 0.15  # standard deviation of a donor's log factor a gene
EFFICIENCY_SPREAD = 0.22  # standard deviation of a spot's log capture efficiency
AMBIENT_UMI = 4.0  # transcripts that drift to any spot


@dataclass(frozen=True)
class Group:
    """Genes with one cause: symbols `SIM{letter}001` up, and their summed mean where the cause is at 1."""

    letter: str
    genes: int
    total: float


GROUPS = {
    "tumour": Group("T", 32, 900.0),
    "stroma": Group("S", 28, 800.0),
    "immune": Group("I", 28, 850.0),
    "fat": Group("F", 16, 500.0),
    "nuclei": Group("N", 20, 400.0),
    "housekeeping": Group("H", 24, 700.0),
    "rare": Group("R", 8, 0.3),
    "never": Group("Z", 4, 0.0),
}


@dataclass(frozen=True)
class Panel:
    """Gene panel: symbols, `weight` (groups, genes) in mean UMI a spot, `dispersion` (genes) = the NB's size."""

    genes: tuple[str, ...]
    weight: Floats
    dispersion: Floats

    def of(self, group: str) -> NDArray[np.intp]:
        """Indices of the genes of one group."""
        prefix = f"SIM{GROUPS[group].letter}"
        return np.array([index for index, gene in enumerate(self.genes) if gene.startswith(prefix)], dtype=np.intp)


def panel() -> Panel:
    """The panel of every simulated sample (always the same)."""
    rng = np.random.default_rng(PANEL_SEED)
    genes: list[str] = []
    blocks = []
    for row, group in enumerate(GROUPS.values()):
        genes += [f"SIM{group.letter}{number:03d}" for number in range(1, group.genes + 1)]
        spread = 0.0 if group.letter == "R" else 0.9
        share = np.exp(rng.normal(0, spread, group.genes))
        block = np.zeros((len(GROUPS), group.genes))
        block[row] = group.total * share / share.sum()
        blocks.append(block)
    return Panel(tuple(genes), np.concatenate(blocks, axis=1), rng.uniform(4, 15, len(genes)))


def expected_counts(
    rng: np.random.Generator, donor_rng: np.random.Generator, fractions: Floats, nuclei: NDArray[np.int64]
) -> Floats:
    """Mean UMI (spots, genes), given each spot's domain fractions (spots, 5) and its number of nuclei (spots,).

    The order of the fractions is that of `tissue.DOMAINS`.
    """
    genes = panel()
    tissue = fractions[:, 1:].sum(axis=1)
    cells = nuclei / NUCLEI_PER_UNIT
    causes = {
        "tumour": fractions[:, TUMOUR],
        "stroma": fractions[:, STROMA],
        "immune": fractions[:, IMMUNE],
        "fat": fractions[:, FAT],
        "nuclei": cells,
        "housekeeping": 0.35 * tissue + 0.65 * cells,
    }
    leak = 0.03 * tissue  # no marker is perfect
    activity = np.stack([causes[name] + leak if name in causes else np.zeros(len(tissue)) for name in GROUPS], axis=1)
    donor_factor = np.exp(donor_rng.normal(0, DONOR_SPREAD, len(genes.genes)))
    efficiency = np.exp(donor_rng.normal(0, 0.15) + rng.normal(0, EFFICIENCY_SPREAD, len(tissue)))
    mean = efficiency[:, None] * donor_factor * (activity @ genes.weight)
    everything = genes.weight.sum(axis=0) * donor_factor
    mean += AMBIENT_UMI * efficiency[:, None] * everything / everything.sum()
    mean[:, genes.of("rare")] = genes.weight[:, genes.of("rare")].sum(axis=0)
    return mean


def draw_counts(rng: np.random.Generator, mean: Floats) -> NDArray[np.int32]:
    """Negative binomial counts with variance mean + mean^2 / dispersion; shape and order of `mean`."""
    size = np.broadcast_to(panel().dispersion, mean.shape)
    return rng.negative_binomial(size, size / (size + mean)).astype(np.int32)
