"""ST-Align (Lin et al. 2024, arXiv 2411.16793): pictures and genes of a spot and of its niche, aligned and fused.

Re-implemented from a description of the published network. Its niche branches end as tokens, which its own loss does
not take, so that its training step raises; `niche_projections` gives them the MLPs that the paper speaks of and is what
runs here. Without them the network is as published. Encoders are given from outside, as vectors or as modules.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import NamedTuple

from torch import Tensor, nn

from spotweave.networks.attention import published_blocks
from spotweave.networks.renaming import renamed
from spotweave.networks.stalign_parts import AttentionFusion, Concatenation, GeneEncoder, Tokens

FUSIONS = ("attention", "concatenation")


@dataclass(frozen=True)
class Sizes:
    """Of the network; the defaults are published.

    Attributes
    ----------
    dim, tokens
        Width of a token and how many a view becomes.
    spot_image, spot_gene, niche_image
        Widths of the vectors that encoders give.
    niche_genes
        Genes of a niche's mean expression.
    gene_token_dim, depth, heads, head_dim, mlp_dim
        Of the transformer over a niche's genes.
    hidden, out
        Of the projections of flattened tokens.
    """

    dim: int = 512
    tokens: int = 8
    spot_image: int = 512
    spot_gene: int = 512
    niche_image: int = 1024
    niche_genes: int = 4384
    gene_token_dim: int = 548
    depth: int = 6
    heads: int = 8
    head_dim: int = 64
    mlp_dim: int = 1024
    hidden: int = 2048
    out: int = 1024

    def __post_init__(self) -> None:
        for one in fields(self):
            if getattr(self, one.name) < 1:
                raise ValueError(f"ST-Align: {one.name} is {getattr(self, one.name)}, allowed: 1 or more")
        if self.dim % 8:
            raise ValueError(
                f"ST-Align: dim is {self.dim}, allowed: a multiple of 8, as the fusion narrows to an eighth"
            )


class Views(NamedTuple):
    """What is seen of B spots: pictures or vectors of the spot and of its niche, as the encoders take them."""

    spot_image: Tensor
    spot_gene: Tensor
    niche_image: Tensor
    niche_gene: Tensor


class Aligned(NamedTuple):
    """Embeddings of B spots, (B, out) each; those of the niche (B, tokens, dim) as published."""

    spot_image: Tensor
    spot_gene: Tensor
    niche_image: Tensor
    niche_gene: Tensor
    spot: Tensor
    niche: Tensor

    def flattened(self) -> Aligned:
        """Tokens one behind another: (B, tokens x dim); embeddings as they are."""
        return Aligned(*(part.flatten(1) for part in self))


def projection(width: int, hidden: int, out: int) -> nn.Sequential:
    """Flattened tokens (B, width) -> (B, out)."""
    return nn.Sequential(nn.Linear(width, hidden), nn.ReLU(), nn.Linear(hidden, out))


class StAlign(nn.Module):
    """Views of spots -> `Aligned`.

    Parameters
    ----------
    sizes
        See `Sizes`.
    spot_image, spot_gene, niche_image
        Encoders: whatever `Views` holds -> (B, width of `sizes`). None where vectors come in already, as those of a
        frozen encoder do (a niche's picture, or a foundation model of single cells, whose vectors are computed once).
    fusion
        `attention`, or `concatenation`, the published ablation.
    niche_projections
        Whether niche embeddings are projected as those of spots are; the published code lacks it.
    dropout
        Of fusion and transformer.

    Raises
    ------
    ValueError
        If the fusion is unknown.
    """

    def __init__(
        self,
        sizes: Sizes,
        *,
        spot_image: nn.Module | None = None,
        spot_gene: nn.Module | None = None,
        niche_image: nn.Module | None = None,
        fusion: str = "attention",
        niche_projections: bool = True,
        dropout: float = 0.1,
    ) -> None:
        super().__init__()
        if fusion not in FUSIONS:
            raise ValueError(f"ST-Align: fusion {fusion!r}, allowed: {', '.join(FUSIONS)}")
        self.spot_image, self.spot_gene, self.niche_image = (
            module or nn.Identity() for module in (spot_image, spot_gene, niche_image)
        )
        self.spot_image_tokens = Tokens(sizes.spot_image, sizes.dim, sizes.tokens)
        self.spot_gene_tokens = Tokens(sizes.spot_gene, sizes.dim, sizes.tokens)
        self.niche_image_tokens = Tokens(sizes.niche_image, sizes.dim, sizes.tokens)
        self.niche_genes = GeneEncoder(
            sizes.niche_genes,
            sizes.dim,
            sizes.tokens,
            token_dim=sizes.gene_token_dim,
            depth=sizes.depth,
            heads=sizes.heads,
            head_dim=sizes.head_dim,
            mlp_dim=sizes.mlp_dim,
            dropout=dropout,
        )
        self.fuse_spot, self.fuse_niche = (
            AttentionFusion(sizes.dim, dropout=dropout) if fusion == "attention" else Concatenation(sizes.dim)
            for _ in range(2)
        )
        projected = ["spot_image", "spot_gene", "spot", "niche"]
        projected += ["niche_image", "niche_gene"] if niche_projections else []
        flat = sizes.tokens * sizes.dim
        self.projections = nn.ModuleDict({name: projection(flat, sizes.hidden, sizes.out) for name in projected})

    def forward(self, views: Views) -> Aligned:
        tokens = {
            "spot_image": self.spot_image_tokens(self.spot_image(views.spot_image)),
            "spot_gene": self.spot_gene_tokens(self.spot_gene(views.spot_gene)),
            "niche_image": self.niche_image_tokens(self.niche_image(views.niche_image)),
            "niche_gene": self.niche_genes(views.niche_gene),
        }
        tokens["spot"] = self.fuse_spot(tokens["spot_image"], tokens["spot_gene"])
        tokens["niche"] = self.fuse_niche(tokens["niche_image"], tokens["niche_gene"])
        return Aligned(**{name: self._projected(name, part) for name, part in tokens.items()})

    def _projected(self, name: str, tokens: Tensor) -> Tensor:
        if name not in self.projections:
            return tokens
        out: Tensor = self.projections[name](tokens.flatten(1))
        return out


_CROSS = (
    ("to_q", "to_query"),
    ("to_k", "to_key"),
    ("to_v", "to_value"),
    (r"to_out\.0", "to_out"),
    ("norm_q", "norm_query"),
    ("norm_kv", "norm_other"),
)


def _fusion_names(theirs: str, ours: str) -> list[tuple[str, str]]:
    return [
        *((rf"{theirs}\.cross_attn_x\.{one}", f"{ours}.image_asks.{own}") for one, own in _CROSS),
        *((rf"{theirs}\.cross_attn_y\.{one}", f"{ours}.gene_asks.{own}") for one, own in _CROSS),
        (rf"{theirs}\.ffn_one", f"{ours}.image_half"),
        (rf"{theirs}\.ffn_two", f"{ours}.gene_half"),
        (rf"{theirs}\.ln_fuse", f"{ours}.norm"),
    ]


_NAMES = (
    (r"img_local\.local_img\.1\.conv1", "spot_image_tokens.conv"),
    (r"img_global\.global_img\.2\.conv1", "niche_image_tokens.conv"),
    (r"gene_local\.conv1", "spot_gene_tokens.conv"),
    (r"gene_global\.global_gene\.0\.mlp", "niche_genes.spread"),
    *published_blocks(r"gene_global\.global_gene\.1\.layers", "niche_genes.blocks", "0", "1"),
    (r"gene_global\.global_gene\.2\.mlp", "niche_genes.narrow"),
    *_fusion_names("local_fusion", "fuse_spot"),
    *_fusion_names("global_fusion", "fuse_niche"),
    ("img_local_mlp", "projections.spot_image"),
    ("gene_local_mlp", "projections.spot_gene"),
    ("local_mlp", "projections.spot"),
    ("global_mlp", "projections.niche"),
)


def from_published(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The state of a published ST-Align, its encoders of pictures left out, under the names of `StAlign`.

    For `load_state_dict(strict=True)` of a network with `fusion` attention and without `niche_projections`. The
    encoders (`img_local.local_img.0`, `img_global.global_img.0` and `.1`) are modules of their own and load alone.

    Raises
    ------
    KeyError
        If a name is not one of the published network's.
    """
    return renamed(state, _NAMES)
