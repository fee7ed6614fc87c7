"""Make a torchvision wheel that links CUDA usable beside a CPU build of torch.

The wheel on PyPI needs `libtorch_cuda`. Beside a CPU build of torch its operators do not load, and a bare
`import torchvision` (timm does one) ends with "operator torchvision::nms does not exist". `install` registers
what that import asks for. It does nothing where the wheel's own operators load.
"""

from __future__ import annotations

import functools
import importlib.util
from pathlib import Path
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    import torch


@functools.lru_cache(maxsize=1)
def install() -> Literal["native", "shim", "absent"]:
    """Call before the first import of timm or torchvision in a process.

    Returns
    -------
    "native" where torchvision's own operators load, "shim" where non-maximum suppression is ours, "absent"
    without torchvision.
    """
    found = importlib.util.find_spec("torchvision")
    if found is None or found.origin is None:
        return "absent"
    import torch

    # The library is loaded by hand first: once `import torchvision` has failed, it cannot be tried again.
    for library in sorted(Path(found.origin).parent.glob("_C*")):
        if library.suffix in {".so", ".pyd", ".dylib"}:
            try:
                torch.ops.load_library(str(library))
            except OSError:
                continue
            return "native"
    _register()
    import torchvision.ops.boxes

    torchvision.ops.boxes._assert_has_ops = lambda: None
    return "shim"


def _register() -> None:
    import torch

    library = torch.library.Library("torchvision", "FRAGMENT")
    for operator in ("nms", "qnms"):
        library.define(f"{operator}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        library.impl(operator, _nms, "CompositeExplicitAutograd")
    _KEPT.append(library)


# Operators live as long as the object that registered them.
_KEPT: list[object] = []


def _nms(boxes: torch.Tensor, scores: torch.Tensor, iou_threshold: float) -> torch.Tensor:
    """Indices of the boxes (N, 4: x1 y1 x2 y2) that greedy non-maximum suppression keeps, best score first."""
    import torch

    order = scores.argsort(descending=True, stable=True)
    x1, y1, x2, y2 = boxes[order].double().unbind(1)
    area = (x2 - x1) * (y2 - y1)
    suppressed = torch.zeros(len(order), dtype=torch.bool, device=boxes.device)
    for i in range(len(order)):
        if suppressed[i]:
            continue
        rest = slice(i + 1, None)
        width = (torch.minimum(x2[i], x2[rest]) - torch.maximum(x1[i], x1[rest])).clamp(min=0)
        height = (torch.minimum(y2[i], y2[rest]) - torch.maximum(y1[i], y1[rest])).clamp(min=0)
        overlap = width * height
        suppressed[rest] |= overlap / (area[i] + area[rest] - overlap) > iou_threshold
    return order[~suppressed]
