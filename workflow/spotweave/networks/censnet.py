"""CensNet (Jiang et al. 2019, IJCAI, 2656-2662): convolutions that take nodes and edges of a graph in turn.

Dense products over a whole batch: graphs of a patch are small (196 nodes and 784 edges at most here), and every image
has as many edges, so that neither sparse tensors nor a graph library would save anything.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional


@dataclass(frozen=True)
class Graph:
    """Graphs of B images, each of N nodes and E edges.

    Attributes
    ----------
    incidence
        (B, E, N): 1 at both ends of an edge, 2 where they are the same node.
    adjacency
        (B, N, N): which node hears which, scaled by how many each hears.
    sharing
        (B, E, E): which edges share a node, themselves among them, scaled by how many.
    """

    incidence: torch.Tensor
    adjacency: torch.Tensor
    sharing: torch.Tensor

    @classmethod
    def of(cls, edges: torch.Tensor, nodes: int, *, guarded: bool = True, reversed_edges: bool = False) -> Graph:
        """Graphs of (B, E, 2) edges, each the node that hears and the one it hears.

        Parameters
        ----------
        guarded
            A node that hears none counts as if it heard one. Without, its scale is infinite and the image NaN.
        reversed_edges
            As published: image i gets the incidence of image B - 1 - i beside its own adjacency and sharing.
        """
        listeners, heard = (functional.one_hot(edges[..., end], nodes).float() for end in (0, 1))
        incidence = listeners + heard
        adjacency = listeners.transpose(1, 2) @ heard
        degrees = adjacency.sum(dim=2)
        share = (incidence @ incidence.transpose(1, 2) > 0).float()
        return cls(
            incidence.flip(0) if reversed_edges else incidence,
            _scaled(adjacency, degrees.clamp_min(1) if guarded else degrees),
            _scaled(share, share.sum(dim=2) + 1),
        )


def _scaled(matrix: torch.Tensor, sums: torch.Tensor) -> torch.Tensor:
    scale = sums.rsqrt()
    return scale[:, :, None] * matrix * scale[:, None, :]


class _Convolution(nn.Module):
    """What both share: weights, and the scores of what passes a message on.

    Parameters
    ----------
    before, after
        Features of what is convolved.
    others
        Features of what it passes through: edges between nodes, nodes between edges.
    lost_gelu
        As published: without the GELU, which the original computes and then does not use.
    """

    def __init__(self, before: int, after: int, others: int, *, lost_gelu: bool) -> None:
        super().__init__()
        bound = after**-0.5
        self.weight = nn.Parameter(torch.empty(before, after).uniform_(-bound, bound))
        self.score = nn.Parameter(torch.empty(1, others).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.empty(after).uniform_(-bound, bound))
        self.lost_gelu = lost_gelu

    def _messages(self, ends: torch.Tensor, through: torch.Tensor, near: torch.Tensor) -> torch.Tensor:
        """(B, K, K) weights of K, from (B, L, K) ends, (B, L, C) features of the L between and (B, K, K) nearness."""
        scores = functional.linear(through, self.score)
        products = ends.transpose(1, 2) @ (scores * ends)
        itself = torch.eye(near.shape[1], device=near.device, dtype=torch.bool)
        return torch.where(itself, 1.0, products) * near

    def _finished(self, values: torch.Tensor) -> torch.Tensor:
        values = values + self.bias
        return values if self.lost_gelu else functional.gelu(values)


class NodeConvolution(_Convolution):
    """(B, N, `before`) nodes -> (B, N, `after`), weighed by (B, E, `others`) edges."""

    def forward(self, nodes: torch.Tensor, edges: torch.Tensor, graph: Graph) -> torch.Tensor:
        weights = self._messages(graph.incidence, edges, graph.adjacency)
        return self._finished(weights @ (nodes @ self.weight))


class EdgeConvolution(_Convolution):
    """(B, E, `before`) edges -> (B, E, `after`), weighed by (B, N, `others`) nodes."""

    def forward(self, edges: torch.Tensor, nodes: torch.Tensor, graph: Graph) -> torch.Tensor:
        weights = self._messages(graph.incidence.transpose(1, 2), nodes, graph.sharing)
        # An edge is its own neighbour with a weight above 0, so that the largest of a column is.
        weights = weights / weights.amax(dim=1, keepdim=True)
        return self._finished(weights @ (edges @ self.weight))


class CensNet(nn.Module):
    """(B, N, `node_dim`) and (B, E, `edge_dim`) -> (B, N, `out_dim`) and (B, E, `edge_out`): nodes, edges, nodes.

    Parameters
    ----------
    dropout
        Share of values that are left out after the first two, in training.
    """

    def __init__(
        self, node_dim: int, edge_dim: int, edge_out: int, out_dim: int, *, dropout: float, lost_gelu: bool
    ) -> None:
        super().__init__()
        self.first = NodeConvolution(node_dim, node_dim, edge_dim, lost_gelu=lost_gelu)
        self.second = EdgeConvolution(edge_dim, edge_out, node_dim, lost_gelu=lost_gelu)
        self.third = NodeConvolution(node_dim, out_dim, edge_out, lost_gelu=lost_gelu)
        self.dropout = nn.Dropout(dropout)

    def forward(self, nodes: torch.Tensor, edges: torch.Tensor, graph: Graph) -> tuple[torch.Tensor, torch.Tensor]:
        nodes = self.dropout(functional.relu(self.first(nodes, edges, graph)))
        edges = self.dropout(functional.relu(edges))
        edges = self.dropout(functional.relu(self.second(edges, nodes, graph)))
        return self.third(nodes, edges, graph), edges
