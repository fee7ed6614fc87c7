"""GeneCodeR (Banh et al.): pictures and genes as two linear faces of one code of few numbers. Nothing is deep in it.

Each of two data sets X (N, P) is made to be A' C B' + b: `rows` A (I, N) and `code` C (I, J) are those of both,
loadings B (P, J) and origin b (P,) its own. The blocks are fitted in turn by least squares. A picture has 150,528
pixels and a fold some thousand spots, so the pixels never enter: B is X' W and b is X' u with W (N, J) and u (N,), and
all that updates need of X is its Gram matrix X X'.
"""

from __future__ import annotations

import torch
from torch import nn

# Of the largest eigenvalue: less of a Gram matrix is rounding. A pseudo-inverse would make it large.
RANK_TOLERANCE = 1e-10
COLUMNS_AT_ONCE = 4096


class GeneCoder(nn.Module):
    """(B, P) uint8 pixels, which are taken from 0 to 1 -> (B, `genes`) expression.

    Parameters
    ----------
    pixels
        P, of a picture with its channels.
    components
        J, numbers of the code.

    Attributes
    ----------
    picture_loadings, gene_loadings
        (P, J) and (genes, J) float32: all that the published count of parameters counts.
    picture_origin, gene_origin
        (P,) and (genes,) float32.
    """

    picture_origin: torch.Tensor
    gene_origin: torch.Tensor

    def __init__(self, genes: int, *, pixels: int = 224 * 224 * 3, components: int = 500) -> None:
        super().__init__()
        self.picture_loadings = nn.Parameter(torch.zeros(pixels, components), requires_grad=False)
        self.gene_loadings = nn.Parameter(torch.zeros(genes, components), requires_grad=False)
        self.register_buffer("picture_origin", torch.zeros(pixels))
        self.register_buffer("gene_origin", torch.zeros(genes))

    def forward(self, shown: torch.Tensor) -> torch.Tensor:
        """(x - b) B (B'B)+ D' + d, with D and d of the genes."""
        loadings = self.picture_loadings
        reading = _inverse((loadings.mT @ loadings).double()).float() @ self.gene_loadings.mT
        return (_numbers(shown).float() - self.picture_origin) @ loadings @ reading + self.gene_origin

    def fill(self, blocks: Blocks, pictures: torch.Tensor, expression: torch.Tensor) -> None:
        """Loadings and origins of fitted blocks, in the basis in which those of pictures are orthonormal.

        Any basis predicts the same; in this one float32 is enough.

        Parameters
        ----------
        pictures, expression
            (N, P) and (N, genes), those whose Gram matrices were fitted; pixels as uint8.
        """
        vectors, roots = _roots(blocks.picture_weights.mT @ blocks.picture_gram @ blocks.picture_weights)
        basis = vectors * roots
        faces = (
            (pictures, blocks.picture_weights, blocks.picture_start, self.picture_loadings, self.picture_origin),
            (expression, blocks.gene_weights, blocks.gene_start, self.gene_loadings, self.gene_origin),
        )
        for data, weights, start, loadings, origin in faces:
            for first in range(0, data.shape[1], COLUMNS_AT_ONCE):
                columns = slice(first, first + COLUMNS_AT_ONCE)
                part = _numbers(data[:, columns])
                loadings.data[columns] = (part.mT @ (weights @ basis)).float()
                origin[columns] = (part.mT @ start).float()


class Blocks(nn.Module):
    """The blocks while they are fitted; float64. What is kept of them is small: (N, J) twice, (I, N), (I, J) thrice.

    Parameters
    ----------
    picture_gram, gene_gram
        (N, N) X X' of both data sets.
    components
        I and J, at most; fewer where there are not so many directions (`directions`).
    generator
        Of the first rows, which are drawn from the normal distribution.
    """

    rows: torch.Tensor
    code: torch.Tensor
    picture_weights: torch.Tensor
    picture_start: torch.Tensor
    picture_products: torch.Tensor
    gene_weights: torch.Tensor
    gene_start: torch.Tensor
    gene_products: torch.Tensor
    changes: torch.Tensor

    def __init__(
        self, picture_gram: torch.Tensor, gene_gram: torch.Tensor, components: int, generator: torch.Generator
    ) -> None:
        super().__init__()
        self.picture_gram, self.gene_gram = picture_gram.double(), gene_gram.double()
        spots = len(picture_gram)
        first = torch.randn(components, spots, generator=generator, dtype=torch.float64)
        self.register_buffer("rows", first)
        self.register_buffer("code", torch.zeros(components, components, dtype=torch.float64))
        for face, gram in (("picture", self.picture_gram), ("gene", self.gene_gram)):
            self.register_buffer(f"{face}_weights", _singular(gram, components))
            self.register_buffer(f"{face}_start", torch.full((spots,), 1 / spots, dtype=torch.float64))
            self.register_buffer(f"{face}_products", torch.zeros_like(self.code))
        self.register_buffer("changes", torch.full((2,), float("inf"), dtype=torch.float64))

    def sweep(self, as_described: bool = False) -> float:
        """Update all blocks once, pictures first.

        Parameters
        ----------
        as_described
            Both data sets estimate the code, and loadings are fitted to rows that are about to change. Both then keep
            the basis that they began in, and what is read from a picture is not what the genes are written in.
            Otherwise the code is that of the pictures, genes are made to fit it, and every block is fitted to the
            newest of the others.

        Returns
        -------
        float
            The share of variance, from 0 to 1, that each data set's own update leaves; the mean of both.
        """
        before = torch.cat([self.picture_products, self.gene_products])
        left = self._update("picture", self.picture_gram, own_code=True, in_turn=not as_described)
        left += self._update("gene", self.gene_gram, own_code=as_described, in_turn=not as_described)
        change = (torch.cat([self.picture_products, self.gene_products]) - before).abs().mean()
        self.changes.copy_(torch.stack([self.changes[1], change]))
        return left / 2

    def settled(self, tolerance: float) -> bool:
        """Whether products of the blocks last changed by as much, on the mean, as the time before."""
        return bool((self.changes[1] - self.changes[0]).abs() < tolerance)

    def read(self, shown: torch.Tensor, training: torch.Tensor) -> torch.Tensor:
        """(M, N) weights of training spots, so that M pictures' expression is these times that of training spots.

        Parameters
        ----------
        shown
            (M, N) products of the pixels of M pictures with those of the N training spots.
        training
            (N, G) float64 expression of training spots.
        """
        weights, start = self.picture_weights, self.picture_start
        placed = (shown - start @ self.picture_gram) @ weights
        inverse = _inverse(weights.mT @ self.picture_gram @ weights)
        return placed @ inverse @ (self.gene_weights.mT @ training) + self.gene_start @ training

    def _update(self, face: str, gram: torch.Tensor, *, own_code: bool, in_turn: bool) -> float:
        weights, start, products = (getattr(self, f"{face}_{name}") for name in ("weights", "start", "products"))
        placed, inverse = _placed(gram, weights, start)
        rows_inverse = _inverse(self.rows @ self.rows.mT)
        products.copy_(self.rows @ placed)
        if own_code:
            self.code.copy_(rows_inverse @ products @ inverse)
        # X' W with these weights is the least squares of the loadings on the rows as they are.
        onto = self.rows.mT @ rows_inverse @ self.code @ _inverse(self.code.mT @ self.code)
        weights.copy_(onto - start[:, None] * onto.sum(dim=0))
        if in_turn:
            placed, inverse = _placed(gram, weights, start)
        self.rows.copy_(((placed @ inverse) @ self.code.mT @ _inverse(self.code @ self.code.mT)).mT)
        start.copy_(1 / len(gram) - weights @ (self.code.mT @ self.rows.mean(dim=1)))
        return _left(gram, weights, start, self.rows.mT @ self.code)


def _placed(gram: torch.Tensor, weights: torch.Tensor, start: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """(N, J) (X - b) B and (J, J) (B'B)+."""
    seen = gram @ weights
    return seen - start @ seen, _inverse(weights.mT @ seen)


def _left(gram: torch.Tensor, weights: torch.Tensor, start: torch.Tensor, fitted: torch.Tensor) -> float:
    """|X - 1 b' - F B'|^2, term by term, as a share of the variance; 0 where there is none."""
    seen, origin = gram @ weights, gram @ start
    squares = gram.trace() - 2 * origin.sum() + len(gram) * (start @ origin)
    squares += ((fitted.mT @ fitted) * (weights.mT @ seen)).sum() - 2 * (fitted * (seen - start @ seen)).sum()
    varies = gram.trace() - gram.mean() * len(gram)
    return float((squares / varies).clamp_min(0)) if varies > RANK_TOLERANCE * gram.trace() else 0.0


def directions(spots: int, pixels: int, genes: int, wanted: int) -> int:
    """How many components can be fitted: fewer than spots, no more than pixels or genes, at least one."""
    return max(1, min(wanted, spots - 1, pixels, genes))


def gram_of(one: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
    """(M, N) float64 products of the rows of (M, P) and (N, P), some columns at a time; uint8 are taken from 0 to 1."""
    found = torch.zeros(len(one), len(other), dtype=torch.float64)
    for first in range(0, one.shape[1], COLUMNS_AT_ONCE):
        columns = slice(first, first + COLUMNS_AT_ONCE)
        found += _numbers(one[:, columns]) @ _numbers(other[:, columns]).mT
    return found


def _numbers(data: torch.Tensor) -> torch.Tensor:
    return data.double() / 255 if data.dtype == torch.uint8 else data.double()


def _singular(gram: torch.Tensor, components: int) -> torch.Tensor:
    """(N, J) weights whose loadings are the first right singular vectors of the centred data."""
    centred = gram - gram.mean(dim=0) - gram.mean(dim=1, keepdim=True) + gram.mean()
    values, vectors = torch.linalg.eigh((centred + centred.mT) / 2)
    values, vectors = values.flip(0)[:components], vectors.flip(1)[:, :components]
    known = values > RANK_TOLERANCE * values[0].clamp_min(0)
    scaled = torch.where(known, vectors / values.where(known, 1.0).sqrt(), 0.0)
    return scaled - scaled.mean(dim=0)


def _inverse(square: torch.Tensor) -> torch.Tensor:
    """The pseudo-inverse of a symmetric matrix without negative eigenvalues."""
    vectors, roots = _roots(square)
    return (vectors * roots**2) @ vectors.mT


def _roots(square: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Eigenvectors in columns and one over the square root of their eigenvalues; 0 for those that are rounding."""
    values, vectors = torch.linalg.eigh((square + square.mT) / 2)
    known = values > RANK_TOLERANCE * values.amax().clamp_min(0)
    return vectors, torch.where(known, values.where(known, 1.0).rsqrt(), 0.0)
