"""The gradients of one step over many pairs, in little memory and over several processes.

A contrastive loss needs the embeddings of all pairs of a step at once, and they are small; what is large are the
activations of the networks. So all pairs are embedded without keeping these, the loss gives the gradient of each
embedding, and then a part at a time is embedded again and gradients go on from its embeddings (Gao et al. 2021,
"Scaling deep contrastive learning batch size under memory limited setup"). The sum is the gradient of the whole step;
adding up the gradients of smaller steps is not, as each of those has fewer negatives.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import torch

from spotweave.finetune.objective import Embeddings, Objective, Seen
from spotweave.finetune.processes import ALONE, Processes


def gradients(
    objective: Objective,
    seen: Seen,
    count: int,
    *,
    at_once: int,
    processes: Processes = ALONE,
    precision: torch.dtype = torch.float32,
) -> float:
    """Add the gradients of the loss of a step to the parameters; the loss.

    Parameters
    ----------
    seen
        Of all `count` pairs of the step, which every process is given alike; each embeds its share.
    at_once
        Pairs whose activations are held at a time. Batch norms in training normalise these by themselves.
    precision
        Of the networks; the loss is always in float32.
    """
    share = processes.share(count)
    parts = [slice(first, min(first + at_once, share.stop)) for first in range(share.start, share.stop, at_once)]
    device = next(objective.parameters()).device
    if len(parts) == 1 and processes.count == 1:
        with _in(precision, device):
            embeddings = objective.embed(*seen(parts[0]))
        loss = objective.loss(_float(embeddings))
        loss.backward()
        return loss.item()
    before, kept = [], []
    with torch.no_grad(), _in(precision, device):
        for part in parts:
            before.append(_random_state(device))
            kept.append(_float(objective.embed(*seen(part))))
    own = [torch.cat(side) for side in zip(*kept, strict=True)]
    whole = [processes.gather(side, count).requires_grad_() for side in own]
    loss = objective.loss(tuple(whole))
    loss.backward()
    # Every process has the whole loss and its gradients; parameters of the loss have theirs already.
    slopes = [side.grad if side.grad is not None else torch.zeros_like(side) for side in whole]
    for part, state in zip(parts, before, strict=True):
        with _as_it_was(state, device):
            with _in(precision, device):
                embeddings = objective.embed(*seen(part))
            differentiable = [
                (side, slope[part])
                for side, slope in zip(_float(embeddings), slopes, strict=True)
                if side.requires_grad
            ]
            torch.autograd.backward(
                [side for side, _ in differentiable], grad_tensors=[slope for _, slope in differentiable]
            )
    of_loss = {id(parameter) for parameter in objective.of_loss()}
    processes.add_up([parameter for parameter in objective.trained() if id(parameter) not in of_loss])
    return loss.item()


def _float(embeddings: Embeddings) -> Embeddings:
    return tuple(side.float() for side in embeddings)


def _in(precision: torch.dtype, device: torch.device) -> contextlib.AbstractContextManager[object]:
    if precision is torch.float32:
        return contextlib.nullcontext()
    return torch.autocast(device.type, precision)


def _random_state(device: torch.device) -> list[torch.Tensor]:
    state = [torch.get_rng_state()]
    return [*state, torch.cuda.get_rng_state(device)] if device.type == "cuda" else state


@contextlib.contextmanager
def _as_it_was(state: list[torch.Tensor], device: torch.device) -> Iterator[None]:
    """Randomness as it was in the first embedding: dropout leaves out the same; afterwards it goes on."""
    after = _random_state(device)
    _set(state, device)
    yield
    _set(after, device)


def _set(state: list[torch.Tensor], device: torch.device) -> None:
    torch.set_rng_state(state[0])
    if device.type == "cuda":
        torch.cuda.set_rng_state(state[1], device)
