"""EGN version 2, or EGGN (Yang et al., Pattern Recognition 2024): a graph of the spots of a section and of exemplars.

Re-implemented from a description of the published network. Sums over edges are a few lines of `index_add`: a library of
graph networks would bring compiled extensions for every pair of torch and CUDA, for one mean and one softmax.

Mended: the original embeds, for the expression of an exemplar, a slice of its transformed features, so that the
expression reaches the bridges only by way of the node (and more genes than hidden channels cannot run). Here it is the
expression. `published_slice` restores the original's. Kept, as its weights stand on them: the ends of an edge enter a
message after the activation that belongs to the scores, the expression does not; and expression is passed through the
activation once more after every layer.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import leaky_relu

from spotweave.networks.csra import ExemplarPool
from spotweave.networks.renaming import renamed

SLOPE = 0.2


class Edges(NamedTuple):
    """Edges of a section, each (2, E) int64: row 0 the source, row 1 the target."""

    windows: Tensor
    exemplars_to_windows: Tensor
    exemplars: Tensor


def mean_over_edges(messages: Tensor, target: Tensor, n_nodes: int) -> Tensor:
    """(n_nodes, D) mean of the messages (E, D) that reach each node; 0 for a node that none reaches."""
    summed = messages.new_zeros(n_nodes, messages.shape[1]).index_add(0, target, messages)
    count = messages.new_zeros(n_nodes).index_add(0, target, messages.new_ones(len(target)))
    return summed / count.clamp(min=1)[:, None]


class NeighbourMean(nn.Module):
    """A linear map of the mean of a node's neighbours plus one of the node itself (GraphSAGE, Hamilton et al. 2017)."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.neighbours = nn.Linear(dim, dim)
        self.self_ = nn.Linear(dim, dim, bias=False)

    def forward(self, nodes: Tensor, edges: Tensor) -> Tensor:
        """(N, dim) of nodes (N, dim) and edges (2, E)."""
        source, target = edges
        out: Tensor = self.neighbours(mean_over_edges(nodes[source], target, len(nodes))) + self.self_(nodes)
        return out


class GraphBridge(nn.Module):
    """Messages between exemplars and windows, in both directions, gated by what tells their scores apart."""

    def __init__(self, dim: int, score_dim: int) -> None:
        super().__init__()
        if 3 * dim % score_dim:
            raise ValueError(f"EGNv2: three times {dim} channels do not divide into {score_dim} gates")
        self.exemplar = nn.Linear(dim, dim, bias=False)
        self.window = nn.Linear(dim, dim, bias=False)
        self.expression = nn.Linear(dim, dim, bias=False)
        self.score = nn.Linear(dim, score_dim, bias=False)
        self.gates = nn.Linear(score_dim, 2 * score_dim)
        self.bias_window, self.bias_exemplar = nn.Parameter(torch.zeros(dim)), nn.Parameter(torch.zeros(dim))
        self.out_window, self.out_exemplar = nn.Linear(dim, dim), nn.Linear(dim, dim)

    def forward(self, exemplars: Tensor, windows: Tensor, expression: Tensor, edges: Tensor) -> tuple[Tensor, Tensor]:
        """What reaches the exemplars (M, dim) and the windows (N, dim).

        Parameters
        ----------
        exemplars, windows, expression
            (M, dim), (N, dim) and (M, dim).
        edges
            (2, E): row 0 an exemplar, row 1 a window.
        """
        at, to = edges
        source, destination = leaky_relu(self.exemplar(exemplars), SLOPE), leaky_relu(self.window(windows), SLOPE)
        told = self.expression(expression)
        scores = self.score(source)[at] - self.score(destination)[to]
        for_window, for_exemplar = self.gates(leaky_relu(scores, SLOPE)).sigmoid().chunk(2, dim=-1)
        here, there, known = source[at], destination[to], told[at]
        reach_window = _gated_mean(for_window, (here, known, there))
        reach_exemplar = _gated_mean(for_exemplar, (there, here, known))
        return (
            self.out_exemplar(mean_over_edges(reach_exemplar, at, len(exemplars)) + self.bias_exemplar),
            self.out_window(mean_over_edges(reach_window, to, len(windows)) + self.bias_window),
        )


def _gated_mean(gates: Tensor, parts: tuple[Tensor, ...]) -> Tensor:
    """(E, dim): the parts side by side, each gate on as many neighbouring channels, and the mean of the parts."""
    joined = torch.cat(parts, dim=-1)
    gated = (joined.unflatten(1, (gates.shape[1], -1)) * gates[..., None]).flatten(1)
    return gated.unflatten(1, (len(parts), -1)).mean(dim=1)


class Layer(nn.Module):
    """Neighbours of one kind, and the bridge between the kinds; a node takes the mean of both."""

    def __init__(self, dim: int, score_dim: int) -> None:
        super().__init__()
        self.windows, self.exemplars = NeighbourMean(dim), NeighbourMean(dim)
        self.bridge = GraphBridge(dim, score_dim)

    def forward(self, windows: Tensor, exemplars: Tensor, expression: Tensor, edges: Edges) -> tuple[Tensor, Tensor]:
        """New windows (N, dim) and exemplars (M, dim), before their activation."""
        to_exemplars, to_windows = self.bridge(exemplars, windows, expression, edges.exemplars_to_windows)
        return (
            (self.windows(windows, edges.windows) + to_windows) / 2,
            (self.exemplars(exemplars, edges.exemplars) + to_exemplars) / 2,
        )


class EgnV2(nn.Module):
    """EGN version 2.

    Parameters
    ----------
    n_genes, n_outputs
        Genes of the exemplars, and genes predicted (as many, where left out).
    n_layers, dim, score_dim
        Layers, hidden channels, and gates of a direction; the last divides three times the second.
    feature_dim
        Length of the features of windows and exemplars.
    published_slice
        Read the expression of exemplars where the original does: the last n_genes of `dim` transformed channels.

    Raises
    ------
    ValueError
        If the sizes do not fit; with `published_slice`, if there are more genes than hidden channels.
    """

    def __init__(
        self,
        n_genes: int,
        n_outputs: int | None = None,
        *,
        n_layers: int = 4,
        dim: int = 512,
        score_dim: int = 128,
        feature_dim: int = 512,
        published_slice: bool = False,
    ) -> None:
        super().__init__()
        if published_slice and n_genes > dim:
            raise ValueError(
                f"EGNv2 as published: {n_genes} genes, but it reads their expression from {dim} hidden channels;"
                " predict fewer genes or use the mended slice"
            )
        self.n_genes, self.published_slice = n_genes, published_slice
        self.window_in = nn.Linear(feature_dim, dim, bias=False)
        self.exemplar_in = nn.Linear(feature_dim + n_genes, dim, bias=False)
        self.shared_in = nn.Linear(dim, dim, bias=False)
        self.expression_in = nn.Linear(n_genes, dim, bias=False)
        self.layers = nn.ModuleList(Layer(dim, score_dim) for _ in range(n_layers))
        self.pool = ExemplarPool(dim)
        self.head = nn.Linear(dim, n_outputs or n_genes)

    def forward(
        self, window_features: Tensor, exemplar_features: Tensor, exemplar_expression: Tensor, edges: Edges
    ) -> Tensor:
        """(N, n_outputs) of N windows.

        Parameters
        ----------
        window_features, exemplar_features
            (N, feature_dim) and (M, feature_dim).
        exemplar_expression
            (M, n_genes).
        edges
            Windows are numbered 0 to N - 1, exemplars 0 to M - 1; their order has no influence.
        """
        windows, exemplars, expression = self.entered(window_features, exemplar_features, exemplar_expression)
        for layer in self.layers:
            windows, exemplars = layer(windows, exemplars, expression, edges)
            windows, exemplars, expression = (leaky_relu(nodes, SLOPE) for nodes in (windows, exemplars, expression))
        out: Tensor = self.head(self.pool(windows, exemplars, edges.exemplars_to_windows))
        return out

    def entered(
        self, window_features: Tensor, exemplar_features: Tensor, exemplar_expression: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Windows (N, dim), exemplars (M, dim) and their expression (M, dim) as the first layer takes them."""
        both = torch.cat([exemplar_features, exemplar_expression], dim=-1)
        windows, exemplars = (
            leaky_relu(self.shared_in(leaky_relu(nodes, SLOPE)), SLOPE)
            for nodes in (self.window_in(window_features), self.exemplar_in(both))
        )
        known = exemplars[:, -self.n_genes :] if self.published_slice else exemplar_expression
        return windows, exemplars, self.expression_in(known)


_BRIDGE = r"convs\.(\d+)\.convs\.example__refer__window"
_NAMES = (
    (r"pretransform_win", "window_in"),
    (r"pretransform_exp", "exemplar_in"),
    (r"post_transform\.1", "shared_in"),
    (r"pretransform_ey", "expression_in"),
    (r"convs\.(\d+)\.convs\.window__near__window\.lin_l", r"layers.\1.windows.neighbours"),
    (r"convs\.(\d+)\.convs\.window__near__window\.lin_r", r"layers.\1.windows.self_"),
    (r"convs\.(\d+)\.convs\.example__close__example\.lin_l", r"layers.\1.exemplars.neighbours"),
    (r"convs\.(\d+)\.convs\.example__close__example\.lin_r", r"layers.\1.exemplars.self_"),
    (_BRIDGE + r"\.bias_src", r"layers.\1.bridge.bias_exemplar"),
    (_BRIDGE + r"\.bias_dist", r"layers.\1.bridge.bias_window"),
    (_BRIDGE + r"\.lin_src", r"layers.\1.bridge.exemplar"),
    (_BRIDGE + r"\.lin_dst", r"layers.\1.bridge.window"),
    (_BRIDGE + r"\.lin_y", r"layers.\1.bridge.expression"),
    (_BRIDGE + r"\.att\.1", r"layers.\1.bridge.score"),
    (_BRIDGE + r"\.score\.1", r"layers.\1.bridge.gates"),
    (_BRIDGE + r"\.out_src", r"layers.\1.bridge.out_exemplar"),
    (_BRIDGE + r"\.out_dist", r"layers.\1.bridge.out_window"),
    (r"pool\.lam", "pool.weight"),
    (r"pool\.head", "pool.score"),
    (r"lin", "head"),
)


def from_published(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The state of a published EGNv2 under the names of `EgnV2`, for `load_state_dict(strict=True)`.

    Raises
    ------
    KeyError
        If a name is not one of the published network's.
    """
    return renamed(state, _NAMES)
