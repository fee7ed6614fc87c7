"""Graph attention (Velickovic et al. 2018) over the spots of a section, with dense matrices.

A section has some thousand spots, each with few neighbours: dense products of that size are as fast on a CPU as
scattered sums, are the same bits every time, and need no package for graphs.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

NOT_A_NEIGHBOUR = -9e15
SLOPE = 0.01


class GraphAttention(nn.Module):
    """(N, `inputs`) spots and (N, N) neighbours -> (N, `outputs`).

    Parameters
    ----------
    over_receivers
        Whether weights sum to 1 over those that listen to a spot, as the published code has it by an axis that is off
        by one; else, as published in words, over the neighbours that a spot listens to. A spot that nobody listens to
        is heard by all alike in the first case, and so is a spot without neighbours in the second.
    """

    def __init__(self, inputs: int, outputs: int, dropout: float, *, over_receivers: bool) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(inputs, outputs))
        self.score = nn.Parameter(torch.empty(2 * outputs, 1))
        nn.init.xavier_uniform_(self.weight, gain=1.414)
        nn.init.xavier_uniform_(self.score, gain=1.414)
        self.dropout = nn.Dropout(dropout)
        self.over_receivers = over_receivers

    def forward(self, spots: torch.Tensor, neighbours: torch.Tensor) -> torch.Tensor:
        mapped = spots @ self.weight
        listening, heard = (mapped @ part for part in self.score.chunk(2))
        scores = functional.leaky_relu(listening + heard.T, SLOPE)
        scores = torch.where(neighbours > 0, scores, torch.full_like(scores, NOT_A_NEIGHBOUR))
        weights = self.dropout(scores.softmax(dim=0 if self.over_receivers else 1))
        return weights @ mapped
