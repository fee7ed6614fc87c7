"""A trained network as a method, on disk and back.

A folder holds `network.safetensors`, all tensors of the network with what its input is normalised by, and `model.json`:
kind, settings, genes, scaling, and what it was trained on. Nothing else is needed to predict, another slide's patches
included, and nothing is run that lies in the folder. `gpu.json` is there where a GPU was used: which, and how much of
its memory.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.torch
import torch
from numpy.typing import NDArray
from torch import nn

from spotweave.io import read_json, write_json
from spotweave.learning.array_places import lattice_of
from spotweave.learning.epochs import History
from spotweave.learning.scaling import Scaling
from spotweave.networks.transform import pick_device
from spotweave.spots import Sample, Training, TrainingSample

NETWORK, MODEL, GPU = "network.safetensors", "model.json", "gpu.json"
# Of everything shown to it: network, sample, settings -> (N, G) as it learned them.
Answer = Callable[[nn.Module, Sample, Mapping[str, Any]], NDArray[np.float32]]


@dataclass(frozen=True)
class Fitted:
    """A trained network and all it takes to predict with it.

    Attributes
    ----------
    kind
        The module of `methods` that made it.
    settings
        JSON types: its sizes and how its input is made.
    said
        JSON types: what it was trained on.
    details
        What was chosen in training, for the prediction's file.
    """

    kind: str
    network: nn.Module
    scaling: Scaling
    settings: dict[str, Any]
    genes: Sequence[str]
    said: dict[str, Any]
    answer: Answer
    details: dict[str, Any] = field(default_factory=dict)

    def after(self, history: History, hold: Sequence[TrainingSample]) -> Fitted:
        """The same with what its training chose; `hold` are the spots that chose it."""
        self.details.update(
            epochs=len(history.loss),
            best_epoch=history.best_epoch + 1,
            chosen_by=f"{sum(len(known.totals) for known in hold)} held-out training spots"
            if hold
            else "the last epoch",
            held_out_pearson=history.score[history.best_epoch] if history.score else None,
            parameters=sum(one.numel() for one in self.network.parameters()),
            behaviour=self.settings["behaviour"],
            weights=f"random, over frozen vectors of {self.settings['encoder']}"
            if "encoder" in self.settings
            else "random",
        )
        return self

    def predict(self, sample: Sample) -> NDArray[np.float64]:
        """(N, G) expression on the scale it was trained on."""
        return self.scaling.predicted(self.answer(self.network, sample, self.settings))

    @staticmethod
    def trained_on(training: Training, row: Mapping[str, str]) -> dict[str, Any]:
        """What a model's file says of its training, and what it takes to cut patches for it of another slide.

        `patches`: their side in px and um per px. `pixel_size_um`: of the finest and the coarsest slide. `array`:
        `lattice` and `pitch_um` of the sample with most spots, None of a single spot. All three are None of a method
        over an encoder, which is given no patches.
        """
        samples = [known.sample for known in training.samples]
        return {
            "row": dict(row),
            "scale": training.scale,
            "samples": [sample.name for sample in samples],
            "donors": sorted({sample.donor for sample in samples}),
            "spots": sum(len(sample.spots) for sample in samples),
            **(dict.fromkeys(("patches", "pixel_size_um", "array")) if row.get("encoder") else _looked_at(samples)),
        }

    def save(self, folder: Path) -> None:
        """Write the folder, which must not be there or be empty."""
        folder.mkdir(parents=True, exist_ok=True)
        state = {name: tensor.detach().cpu().contiguous() for name, tensor in sorted(self.network.state_dict().items())}
        safetensors.torch.save_file(state, folder / NETWORK)
        # safetensors writes for the owner alone; results are for the group, as every other file.
        (folder / NETWORK).chmod(0o644)
        write_json(
            folder / MODEL,
            {
                "kind": self.kind,
                "settings": self.settings,
                "genes": list(self.genes),
                "shift": self.scaling.shift.tolist(),
                "scale": self.scaling.scale.tolist(),
                "trained_on": self.said,
                "details": self.details,
            },
        )
        self._save_cost(folder)

    def _save_cost(self, folder: Path) -> None:
        """The GPU, if one was used, and the most of its memory that tensors took: a cost, not a result."""
        device = next(self.network.parameters()).device
        if device.type == "cuda":
            peak = torch.cuda.max_memory_allocated(device)
            write_json(folder / GPU, {"device": torch.cuda.get_device_name(device), "peak_bytes": peak})

    @classmethod
    def load(cls, folder: Path, build: Callable[[Mapping[str, Any], int], nn.Module], answer: Answer) -> Fitted:
        """Read a folder that `save` wrote.

        Parameters
        ----------
        build
            Takes settings and the number of genes, gives the network to be filled.
        """
        said = read_json(folder / MODEL)
        network = build(said["settings"], len(said["genes"]))
        network.load_state_dict(safetensors.torch.load_file(folder / NETWORK), strict=True)
        scaling = Scaling(np.array(said["shift"]), np.array(said["scale"]))
        network = network.to(pick_device("auto")).eval()
        return cls(
            said["kind"], network, scaling, said["settings"], said["genes"], said["trained_on"], answer, said["details"]
        )


def _looked_at(samples: Sequence[Sample]) -> dict[str, Any]:
    sizes_um = [sample.pixel_size_um for sample in samples]
    largest = max(range(len(samples)), key=lambda number: len(samples[number].spots))
    found = lattice_of(samples[largest].positions_px)
    return {
        "patches": {"size_px": samples[0].patch_px, "um_per_px": samples[0].patch_um_per_px},
        "pixel_size_um": [min(sizes_um), max(sizes_um)],
        "array": found and {"lattice": found[0], "pitch_um": found[1] * sizes_um[largest]},
    }
