"""Numbers of published methods' own code: weights, inputs and outputs, as tensors."""

import numpy as np
import torch

from real_data import real


class Oracle:
    """Arrays of the published code by name, as tensors or as they are."""

    def __init__(self, name, *, tensors=True):
        with np.load(real("data/method_oracles", f"{name}.npz")) as file:
            self.arrays = {key: torch.from_numpy(file[key]) if tensors else file[key] for key in file.files}

    def __getitem__(self, key):
        return self.arrays[key]

    def state(self):
        """Weights by their published names."""
        return self.group("state/")

    def group(self, front):
        return {key.removeprefix(front): value for key, value in self.arrays.items() if key.startswith(front)}

    def as_built(self):
        """The state with the tensors of one value put back to it."""
        state = self.state()
        return state | {key: torch.full_like(state[key], float(value)) for key, value in self.group("const/").items()}


def parameters(build):
    """Number of parameters of a network, without memory for them."""
    with torch.device("meta"):
        return sum(parameter.numel() for parameter in build().parameters())


def relative(found, wanted):
    """Largest deviation by the largest magnitude."""
    found = found.detach().reshape(wanted.shape)
    return float((found - wanted).abs().max() / wanted.abs().max())
