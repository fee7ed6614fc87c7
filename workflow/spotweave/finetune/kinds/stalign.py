"""ST-Align (Lin et al. 2024): pictures and genes of spots and of their niches, aligned and fused."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from spotweave.errors import Refusal
from spotweave.finetune import Sample
from spotweave.finetune.augment import Changes
from spotweave.finetune.batches import ANY
from spotweave.finetune.kinds.parts import trainable
from spotweave.finetune.losses.stalign import Weights, stalign_losses
from spotweave.finetune.niches import neighbours_of, niche_rows
from spotweave.finetune.objective import Embeddings, Objective, Seen, decayed
from spotweave.finetune.pairs import Beside, Pairs, Shrink, read_pairs
from spotweave.finetune.recipe import stand_ins_of
from spotweave.finetune.schedule import Schedule
from spotweave.finetune.towers import moments, principal
from spotweave.finetune.training import Course
from spotweave.finetune.views import Pictures, rows
from spotweave.networks.pooling import seeded
from spotweave.networks.spec import EncoderSpec
from spotweave.networks.stalign import Aligned, Sizes, Views
from spotweave.networks.stalign_pictures import SCGPT, SpotGenes, StAlignPictures, stalign_pictures
from spotweave.networks.tower import tower_spec
from spotweave.networks.transform import Transform

SIZES = {
    "published": Sizes(),
    "small": Sizes(
        dim=128,
        spot_image=128,
        spot_gene=128,
        gene_token_dim=64,
        depth=2,
        head_dim=16,
        mlp_dim=128,
        hidden=256,
        out=128,
    ),
    "tiny": Sizes(
        dim=32,
        tokens=4,
        spot_image=32,
        spot_gene=32,
        gene_token_dim=16,
        depth=1,
        heads=2,
        head_dim=8,
        mlp_dim=32,
        hidden=64,
        out=32,
    ),
}
# Of the learning rate at the end, for one of 5e-4: the published 1e-6.
LEAST_RATE = 1e-6
PAIRS_OF_RATE = 256


class SpotsAndNiches(Objective):
    """The three losses of ST-Align over pairs and their niches.

    Parameters
    ----------
    network
        What is kept: pictures and genes of spots and niches -> `Aligned`.
    neighbours
        (N, K) numbers of the pairs that are a pair's niche, itself among them.
    """

    def __init__(
        self,
        network: StAlignPictures,
        pictures: Pictures,
        pairs: Pairs,
        neighbours: NDArray[np.int64],
        weights: Weights,
        temperature: float,
    ) -> None:
        super().__init__()
        self.network, self.pictures, self.expression = network, pictures, pairs.expression
        self.spots = pairs.expression if pairs.vectors is None else pairs.vectors
        self.neighbours, self.weights, self.temperature = neighbours, weights, temperature

    def see(self, numbers: torch.Tensor, generator: torch.Generator) -> Seen:
        # Each picture is changed by itself: a spot's lies in its niche's, and light and stain that both share would do
        # to find the one by the other.
        spot, niche = (self.pictures.changes(len(numbers), generator) for _ in range(2))
        return lambda places: self._seen(numbers[places], spot[places], niche[places])

    def as_they_are(self, numbers: torch.Tensor) -> tuple[Any, ...]:
        return self._seen(numbers, None, None)

    def _seen(self, numbers: torch.Tensor, spot: Changes | None, niche: Changes | None) -> tuple[Any, ...]:
        device = self.pictures.device
        genes = torch.from_numpy(niche_rows(self.expression, self.neighbours[numbers.numpy()])).to(device)
        pictures = (self.pictures.normalised(numbers, changes) for changes in (spot, niche))
        return tuple(Views(next(pictures), rows(self.spots, numbers, device), next(pictures), genes))

    def embed(self, *seen: Any) -> Embeddings:
        return tuple(self.network.aligned(Views(*seen)))

    def loss(self, embeddings: Embeddings) -> torch.Tensor:
        return stalign_losses(Aligned(*embeddings), self.weights, temperature=self.temperature).total


@dataclass(frozen=True)
class StAlignKind:
    """A row of the kind `stalign`. Column by column it is described in `spotweave.recipes.stalign`."""

    recipe: str
    input_px: int
    sizes: str
    spot_um: float
    spot_px: int
    spot_architecture: str
    neighbours: int
    genes: int
    gene_encoder: str
    fusion: str
    share_spot: float
    share_niche: float
    temperature: float
    epochs: int
    batch: int
    lr_image: float
    weight_decay: float
    end_weight_decay: float
    unfrozen: str
    augment: tuple[str, ...] = ()
    jitter: float = 0.0
    warmup_epochs: int = 0
    at_once: int = 0
    negatives: str = ANY
    precision: str = "float32"
    gene_weights: str = ""
    gene_sha256: str = ""
    # Of the patch's edge, what the picture of the spot is; found when pairs are read, as the width and the SHA-256 of
    # a gene encoder that is not trained here are.
    spot_share: float = 0.0
    gene_width: int = 0
    gene_found: str = ""

    @property
    def course(self) -> Course:
        return Course(self.epochs, self.batch, self.at_once, self.negatives, self.precision)

    def read(self, samples: Sequence[Sample], shrink: Shrink, scratch: Path | None) -> Pairs:
        share = _spot_share(samples, self.spot_um)
        # The dataclass is frozen for its settings; this one is measured.
        object.__setattr__(self, "spot_share", share)
        return read_pairs(samples, self.genes, shrink, scratch, self._gene_model())

    def _gene_model(self) -> Beside | None:
        if self.gene_encoder != SCGPT:
            return None
        from spotweave.finetune.scgpt import ScGptSpots

        model = ScGptSpots(Path(self.gene_weights), self.gene_sha256)
        object.__setattr__(self, "gene_width", model.width)
        object.__setattr__(self, "gene_found", model.sha256)
        return Beside(model.width, model.embed)

    def expression_side(self, objective: Objective) -> None:
        # It is in the network that embeds patches.
        return None

    def header(self, base: EncoderSpec, genes: int) -> dict[str, Any]:
        sizes = replace(SIZES[self.sizes], niche_image=base.dim, niche_genes=genes)
        model: dict[str, Any] = {"stand_ins": stand_ins_of(self.gene_encoder)}
        if self.gene_encoder == SCGPT:
            sizes = replace(sizes, spot_gene=self.gene_width)
            model = {"scgpt": {"folder": self.gene_weights, "sha256": self.gene_found}}
        return {
            **model,
            "network": "stalign",
            "expression": {"network": "stalign"},
            "embedding_dim": 2 * sizes.out,
            "stalign": {
                "sizes": asdict(sizes),
                "fusion": self.fusion,
                "spot_share": self.spot_share,
                "spot_px": self.spot_px,
                "spot_architecture": self.spot_architecture,
                "gene_encoder": self.gene_encoder,
                "neighbours": self.neighbours,
            },
        }

    def objective(
        self, pairs: Pairs, base: EncoderSpec, *, folder: Path | None, seed: int, device: torch.device
    ) -> SpotsAndNiches:
        niche = trainable(base, self.unfrozen, folder=folder, seed=seed)
        said = self.header(base, len(pairs.genes))["stalign"]
        with seeded(seed):
            network = stalign_pictures(said, niche)
        genes: SpotGenes = network.spot_genes
        if self.gene_encoder != SCGPT:
            genes.standardise(*moments(pairs.expression))
        if self.gene_encoder == "pca":
            genes.project(principal(pairs.expression, genes.width))
        if pairs.positions_px is None:
            raise ValueError("pairs without positions have no niches")
        return SpotsAndNiches(
            network,
            Pictures(pairs.images, Transform(tower_spec(base, self.input_px)), device, self.augment, self.jitter),
            pairs,
            neighbours_of(pairs.positions_px, pairs.groups(), self.neighbours),
            Weights(self.share_spot, self.share_niche),
            self.temperature,
        ).to(device)

    def optimiser(self, objective: Objective) -> torch.optim.Optimizer:
        rate = self.lr_image * self.batch / PAIRS_OF_RATE
        return torch.optim.AdamW(decayed(objective.trained(), rate, self.weight_decay))

    def schedule(self, steps: int, groups: NDArray[np.int64]) -> Schedule:
        return Schedule(
            steps,
            warmup_steps=steps * self.warmup_epochs // self.epochs,
            least=min(1.0, LEAST_RATE / (self.lr_image * self.batch / PAIRS_OF_RATE)),
            decay_growth=self.end_weight_decay / self.weight_decay if self.weight_decay else 1.0,
        )

    def leaves(self, objective: Objective) -> nn.Module:
        network: nn.Module = objective.get_submodule("network")
        return network


def _spot_share(samples: Sequence[Sample], spot_um: float) -> float:
    """Of the edge of a patch, what a square of `spot_um` is.

    Raises
    ------
    Refusal
        If a file of patches does not say its pixel size, or patches are smaller than the spot.
    """
    shares = set()
    for sample in samples:
        with h5py.File(sample.patches) as file:
            said = file["img" if "img" in file else "coords"].attrs
            if "pixel_size_target" not in said or "patch_size_target" not in said:
                raise Refusal(f"{sample.patches.name} does not say what its patches measure: cut them anew")
            shares.add(spot_um / (float(said["pixel_size_target"]) * float(said["patch_size_target"])))
    share = max(shares)
    if share > 1:
        raise Refusal(f"spot_um {spot_um:g} is wider than the patches: larger ones are needed (patch: size_px)")
    return share
